"""The data sets that come with genbench. Imports neither numpy nor torch."""

from collections.abc import Iterator

from genbench import DatasetSpec, hookimpl


@hookimpl
def genbench_datasets() -> Iterator[DatasetSpec]:
    """Declare the data sets."""
    yield DatasetSpec(
        "toyfaces",
        "drawn faces with 13 independent attributes, each of which can be changed with all else equal; needs no data",
        "genbench_datasets.toyfaces:ToyFaces",
        "genbench_datasets.settings:ToyFacesSettings",
        size=32,
        width=0.25,
        images=40_000,
    )
    yield DatasetSpec(
        "digits",
        "scikit-learn's 1,797 handwritten digits; needs no data",
        "genbench_datasets.digits:Digits",
        channels=1,
        size=32,
        width=0.25,
        images=60_000,
    )
    yield DatasetSpec(
        "mnist",
        "MNIST: 70,000 handwritten digits",
        "genbench_datasets.idx:Mnist",
        channels=1,
        size=32,
        width=0.25,
        images=600_000,
    )
    yield DatasetSpec(
        "fashion-mnist",
        "Fashion-MNIST: 70,000 pictures of clothes",
        "genbench_datasets.idx:FashionMnist",
        channels=1,
        size=32,
        width=0.25,
        images=600_000,
    )
    yield DatasetSpec(
        "cifar10",
        "CIFAR-10: 60,000 photographs of ten kinds of things",
        "genbench_datasets.cifar10:Cifar10",
        size=32,
        width=0.5,
        images=1_000_000,
        flip=True,
    )
    yield DatasetSpec(
        "celeba",
        "CelebA: 202,599 aligned faces with 40 attributes, cropped as in Larsen et al. 2016",
        "genbench_datasets.celeba:Celeba",
        "genbench_datasets.settings:CelebaSettings",
        size=64,
        width=1.0,
        images=4_000_000,
        flip=True,
    )
    yield DatasetSpec(
        "lfw",
        "Labeled Faces in the Wild, deep-funneled: 13,233 faces of 5,749 people, nobody in two splits",
        "genbench_datasets.lfw:Lfw",
        "genbench_datasets.settings:LfwSettings",
        size=64,
        images=1_000_000,
        flip=True,
    )
    yield DatasetSpec(
        "stl10",
        "STL-10: 113,000 photographs of which 13,000 are labelled as one of ten kinds of things",
        "genbench_datasets.stl10:Stl10",
        "genbench_datasets.settings:Stl10Settings",
        size=64,
        images=3_000_000,
        flip=True,
    )
    yield DatasetSpec(
        "folder",
        "any folder of images, with attributes from a CSV file if there is one",
        "genbench_datasets.folder:Folder",
        "genbench_datasets.settings:FolderSettings",
        size=64,
        images=1_000_000,
    )
