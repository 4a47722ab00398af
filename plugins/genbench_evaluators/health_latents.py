"""Health of a posterior: whether its units tell images apart, and whether all of them together look like the prior."""

from collections.abc import Iterator

from torch import Tensor

from genbench.evaluate.context import EvaluationContext
from genbench.interfaces import Posterior
from genbench.records import Check, Sheet
from genbench_evaluators.cells import cells
from genbench_evaluators.health_rules import Rule

ACTIVE = 0.01
"""A unit is active where the variance of its posterior mean over images is greater (Burda et al. 2016, section 5.2)."""

ACTIVE_SHARE = 0.05
"""Least share of units that are active. Burda et al. give no such bound, and unused units alone are no fault: they cost
nothing. Under one in twenty the code is far smaller than was asked for, and `latent_size` says nothing of the model."""

KL = Rule(
    low=1.0,
    under="The posterior is about the prior, so a latent tells next to nothing of its image (posterior collapse).",
)
"""In nats per image. The mean KL bounds the information of z on x from above (Hoffman & Johnson 2016, section 2), and
with one nat e ≈ 2.7 images can be told apart. Where it is about 0, the decoder ignores z (Bowman et al. 2016, section
3.1; Lucas et al. 2019)."""

AGGREGATE = Rule(
    high=0.9,
    over="Next to none of the KL is information on the image: latents of all images lie together, away from the prior "
    "that samples come from.",
)
"""Part of the KL that is the aggregate posterior's divergence from the prior; no more than the rest is information on
the image (Hoffman & Johnson 2016). On the CelebA subset and toy faces it is 0.2 to 0.4 for VAEs and 0.4 to 0.57 for
VAE/GANs, whose samples vary about half as much as their reconstructions: the nearer to 1, the more a fitted sampler has
to gain."""

FEWEST = 2
"""Images for each unit under which the divergence isn't measured: it would be that of the sample, not of the
posterior."""


def latent_checks(context: EvaluationContext) -> Iterator[Check | Sheet]:
    """Yield what the posteriors of the test images tell.

    Raises:
        NotApplicable: the model has no encoder, or the split is empty.
    """
    posterior = context.posteriors("test")
    posterior = Posterior(posterior.mean.double(), posterior.log_variance.double())
    spread, nats = variance_of_means(posterior), kl_of_units(posterior)
    units = posterior.mean.shape[1]
    yield active_rule(units).check("active-units", float((spread > ACTIVE).sum()))
    yield KL.check("kl", nats.sum().item())
    if len(posterior.mean) >= FEWEST * units and nats.sum() != 0:
        yield AGGREGATE.check("aggregate-posterior", aggregate_divergence(posterior) / nats.sum().item())
    rows = zip(range(units), cells(nats), cells(spread), strict=True)
    yield Sheet(name="health-latents", columns=("unit", "kl", "variance_of_means"), rows=tuple(rows))


def active_rule(units: int) -> Rule:
    """Return the rule for a number of active units out of so many."""
    return Rule(
        low=ACTIVE_SHARE * units,
        under=f"Fewer than {ACTIVE_SHARE:.0%} of the {units} latent units tell images apart.",
    )


def variance_of_means(posterior: Posterior) -> Tensor:
    """Return Var_x(E[z|x]) of each unit, (latent_size,) (Burda et al. 2016, section 5.2)."""
    return posterior.mean.var(0, correction=0)


def kl_of_units(posterior: Posterior) -> Tensor:
    """Return the mean over images of each unit's KL(q(z|x) ‖ N(0, 1)) in nats, (latent_size,)."""
    return 0.5 * (posterior.mean.square() + posterior.log_variance.exp() - 1 - posterior.log_variance).mean(0)


def aggregate_divergence(posterior: Posterior) -> float:
    """Return KL(N(m, S) ‖ N(0, I)) in nats, where m and S are the moments of the z ~ q(z|x) of all images together.

    It bounds KL(q(z) ‖ p(z)) from below, since a Gaussian has the greatest entropy of all with its moments.
    """
    mean = posterior.mean.mean(0)
    centred = posterior.mean - mean
    covariance = centred.T @ centred / len(centred) + posterior.log_variance.exp().mean(0).diag()
    trace, log_determinant = covariance.trace(), covariance.logdet()
    return 0.5 * (mean.square().sum() + trace - len(mean) - log_determinant).item()
