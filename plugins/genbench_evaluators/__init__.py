"""genbench's own evaluators and feature extractors."""

from collections.abc import Iterable

import genbench


@genbench.hookimpl
def genbench_evaluators() -> Iterable[genbench.EvaluatorSpec]:
    """Declare the evaluators."""
    yield genbench.EvaluatorSpec(
        name="mse",
        summary="mean squared error of a pixel of the test images' reconstructions",
        target="genbench_evaluators.reconstruction:ReconstructionError",
        sampled=False,
    )
    yield genbench.EvaluatorSpec(
        name="psnr",
        summary="mean peak signal-to-noise ratio of the test images' reconstructions, in dB",
        target="genbench_evaluators.reconstruction:SignalToNoise",
        sampled=False,
    )
    yield genbench.EvaluatorSpec(
        name="ssim",
        summary="mean structural similarity of the test images to their reconstructions",
        target="genbench_evaluators.reconstruction:StructuralSimilarity",
        sampled=False,
    )
    yield genbench.EvaluatorSpec(
        name="ms-ssim",
        summary="mean structural similarity of the test images to their reconstructions, over several scales",
        target="genbench_evaluators.reconstruction:MultiScaleSimilarity",
        default=False,
        sampled=False,
    )
    yield genbench.EvaluatorSpec(
        name="lpips",
        summary="mean perceptual distance of the test images to their reconstructions, in a network's features",
        target="genbench_evaluators.perceptual:PerceptualDistance",
        settings="genbench_evaluators.reconstruction_settings:LpipsSettings",
        default=False,
        sampled=False,
    )
    yield genbench.EvaluatorSpec(
        name="similarity",
        summary="mean cost of the test images' reconstructions under any similarity, whatever was trained with",
        target="genbench_evaluators.likelihood:SimilarityScore",
        settings="genbench_evaluators.similarity_settings:SimilarityScoreSettings",
        default=False,
        variant="similarity",
        sampled=False,
    )
    yield genbench.EvaluatorSpec(
        name="rate",
        summary="mean KL divergence of the test images' posteriors from the prior, in nats; not ranked",
        target="genbench_evaluators.likelihood:Rate",
        default=False,
        sampled=False,
    )
    yield genbench.EvaluatorSpec(
        name="fid",
        summary="Fréchet Inception distance of samples and of reconstructions to real images",
        target="genbench_evaluators.frechet:FrechetInceptionDistance",
        settings="genbench_evaluators.distribution_settings:FidSettings",
    )
    yield genbench.EvaluatorSpec(
        name="kid",
        summary="kernel Inception distance of samples and of reconstructions to real images; unbiased",
        target="genbench_evaluators.kernel:KernelInceptionDistance",
        settings="genbench_evaluators.distribution_settings:KernelSettings",
        variant="extractor",
    )
    yield genbench.EvaluatorSpec(
        name="fd",
        summary="Fréchet distance on an extractor's features, by default the attribute classifier's",
        target="genbench_evaluators.frechet:FrechetDistance",
        settings="genbench_evaluators.distribution_settings:FrechetSettings",
        variant="extractor",
    )
    yield genbench.EvaluatorSpec(
        name="precision-recall",
        summary="which part of generated images looks real, and of real ones could have been generated",
        target="genbench_evaluators.manifold:PrecisionRecall",
        settings="genbench_evaluators.distribution_settings:PrecisionRecallSettings",
        default=False,
        variant="extractor",
    )
    yield genbench.EvaluatorSpec(
        name="density-coverage",
        summary="how deep generated images lie among real ones, and which part of these they reach",
        target="genbench_evaluators.manifold:DensityCoverage",
        settings="genbench_evaluators.distribution_settings:DensityCoverageSettings",
        default=False,
        variant="extractor",
    )
    yield genbench.EvaluatorSpec(
        name="inception-score",
        summary="how surely and how variously Inception classifies samples; sees no real images",
        target="genbench_evaluators.inception_score:InceptionScore",
        settings="genbench_evaluators.distribution_settings:InceptionScoreSettings",
        default=False,
    )
    yield genbench.EvaluatorSpec(
        name="attributes",
        summary="whether moving a latent along an attribute's vector changes that attribute and no other",
        target="genbench_evaluators.attributes:AttributeArithmetic",
        settings="genbench_evaluators.attribute_settings:AttributeSettings",
        version=2,
    )
    yield genbench.EvaluatorSpec(
        name="counterfactual",
        summary="edits along attribute vectors against the true changed image, where the data set knows it",
        target="genbench_evaluators.counterfactual:Counterfactual",
        settings="genbench_evaluators.counterfactual_settings:CounterfactualSettings",
        sampled=False,
    )
    yield genbench.EvaluatorSpec(
        name="health",
        summary="signs that a model has collapsed, or that its training went wrong; computed for every run",
        target="genbench_evaluators.health:Health",
        always=True,
        sampled=False,
    )


@genbench.hookimpl
def genbench_extractors() -> Iterable[genbench.ExtractorSpec]:
    """Declare the feature extractors; `attributes` is declared so that it is listed and its name taken."""
    yield genbench.ExtractorSpec(
        name="attributes",
        summary="the data set's own attribute classifier, the layer before its logits",
        target="genbench.evaluate.extractors.attributes:AttributeFeatures",
    )
    yield genbench.ExtractorSpec(
        name="inception",
        summary="Inception-v3 of 2015 as torch-fidelity has it, pool3: the network of FID",
        target="genbench.evaluate.extractors.inception:inception",
    )
    yield genbench.ExtractorSpec(
        name="vgg16",
        summary="VGG-16 as torch-fidelity feeds it, second fully connected layer",
        target="genbench.evaluate.extractors.fidelity:vgg16",
    )
    yield genbench.ExtractorSpec(
        name="clip",
        summary="CLIP's image encoder as torch-fidelity feeds it",
        target="genbench.evaluate.extractors.fidelity:clip",
        variants=True,
        variant="vit-b-32",
        known="genbench.evaluate.extractors.fidelity:clip_variants",
    )
    yield genbench.ExtractorSpec(
        name="dinov2",
        summary="DINOv2's class token as torch-fidelity feeds it",
        target="genbench.evaluate.extractors.fidelity:dinov2",
        variants=True,
        variant="vitb14",
        known="genbench.evaluate.extractors.fidelity:dinov2_variants",
    )
    yield genbench.ExtractorSpec(
        name="torchvision",
        summary="any classifier of torchvision, what its last layer gets",
        target="genbench.evaluate.extractors.torchvision:classifier",
        variants=True,
        known="genbench.evaluate.extractors.torchvision:classifiers",
    )
