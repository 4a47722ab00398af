"""The parts of a decoder's loss that a model tells for checks of health."""

import pytest
import torch

from genbench.config import NetworkConfig
from genbench.interfaces import Batch, Losses
from genbench.networks import Blueprint
from genbench.train.gradients import route
from genbench.train.weighting import WeightedSimilarity
from genbench_similarities.elementwise import DisL
from genbench_similarities.settings import DisLSettings
from genbench_vae.model import Vae
from genbench_vae.settings import VaeSettings
from genbench_vaegan.model import VaeGan
from genbench_vaegan.settings import VaeGanSettings


def vaegan(settings: VaeGanSettings) -> tuple[VaeGan, Batch]:
    similarity = WeightedSimilarity(DisL(DisLSettings()), 0.75)
    network = NetworkConfig(width=0.02, latent_size=3, encoder_hidden=200)
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(5)) * 2 - 1
    return VaeGan(Blueprint(3, 16, network, 100, 0, similarity=similarity), settings), Batch(images)


@pytest.mark.parametrize("saturating", [False, True])
@pytest.mark.parametrize("show", [False, True])
@pytest.mark.parametrize("together", [False, True])
def test_the_terms_of_vaegan_add_up_to_its_decoders_loss(saturating: bool, show: bool, together: bool) -> None:
    settings = VaeGanSettings(gamma=0.37, saturating=saturating, show_reconstructions=show, one_batch=together)
    model, batch = vaegan(settings)
    torch.manual_seed(11)
    losses = model.losses(batch)
    torch.manual_seed(11)
    terms = model.terms(batch)
    assert set(terms) == {"similarity", "gan"}
    torch.testing.assert_close(sum(terms.values()), losses.of["decoder"])
    torch.testing.assert_close(terms["similarity"], 0.37 * losses.log["like"])
    # And what the engine makes of the loss is what it makes of the terms.
    whole, parts = (
        route({"decoder": model.networks["decoder"]}, Losses({"decoder": loss}))
        for loss in (losses.of["decoder"], sum(terms.values()))
    )
    for a, b in zip(whole.of["decoder"], parts.of["decoder"], strict=True):
        torch.testing.assert_close(a, b)


def test_a_model_of_one_term_tells_none() -> None:
    _, batch = vaegan(VaeGanSettings())
    similarity = WeightedSimilarity(DisL(DisLSettings()), 1.0)
    network = NetworkConfig(width=0.02, latent_size=3, encoder_hidden=200)
    assert Vae(Blueprint(3, 16, network, 100, 0, similarity=similarity), VaeSettings()).terms(batch) == {}
