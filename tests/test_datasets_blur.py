"""Blurring before resizing, and how CelebA's faces are cropped and blurred when asked to."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from torchvision.transforms import CenterCrop

from genbench import GenbenchError
from genbench.config import DataConfig
from genbench.data.packed import fingerprint
from genbench.data.preparation import prepare as prepare_packed
from genbench.interfaces import DataRequest, ImageSet
from genbench.plugins import Plugins
from genbench.resolution import RunRequest, resolve
from genbench_datasets.celeba import Celeba, crop_box
from genbench_datasets.lfw import Lfw
from genbench_datasets.pictures import crop_and_resize, resize
from genbench_datasets.settings import CelebaSettings, LfwSettings, Stl10Settings
from genbench_datasets.stl10 import Stl10

SIGMA = 0.5 * (148 / 64) ** 0.5
"""As the authors' code computes it for crops of 148 pixels."""


def noise(seed: int, size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)


def blurred(pixels: np.ndarray, sigma: float) -> np.ndarray:
    """Return pixels convolved with a Gaussian in two dimensions, cut off at 4 σ, the border repeated."""
    reach = int(4 * sigma + 0.5)
    places = np.arange(-reach, reach + 1)
    line = np.exp(-(places**2) / (2 * sigma**2))
    kernel = np.outer(line, line) / line.sum() ** 2
    padded = np.pad(pixels.astype(float), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape, axis=(0, 1))
    return np.einsum("hwcij,ij->hwc", windows, kernel)


def pillow(pixels: np.ndarray, size: int) -> np.ndarray:
    """Return floats resized by Pillow, channel by channel, and rounded."""
    planes = [
        np.asarray(Image.fromarray(plane.astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC))
        for plane in np.moveaxis(pixels, 2, 0)
    ]
    return np.rint(np.stack(planes, 2)).clip(0, 255)


@pytest.mark.parametrize("sigma", [0.3, SIGMA, 2.0])
@pytest.mark.parametrize("size", [24, 40, 64])
def test_a_blurred_picture_is_convolved_then_resized(sigma: float, size: int) -> None:
    pixels = noise(0, (40, 40))
    found = np.asarray(resize(Image.fromarray(pixels), size, blur=sigma)).astype(int)
    for truth in (blurred(pixels, sigma), gaussian_filter(pixels.astype(float), (sigma, sigma, 0), mode="nearest")):
        difference = np.abs(found - pillow(truth, size))
        assert difference.max() <= 1
        assert (difference > 0).mean() < 1e-3, "halves that floats round either way"


def test_without_blur_it_is_pillow_alone() -> None:
    picture = Image.fromarray(noise(1, (40, 30)))
    expected = picture.resize((16, 16), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(np.asarray(resize(picture, 16)), np.asarray(expected))


def test_a_blur_sees_nothing_of_what_was_cut_off() -> None:
    pixels, other = noise(2, (40, 40)), noise(3, (40, 40))
    other[10:30, 5:25] = pixels[10:30, 5:25]
    box = (5, 10, 25, 30)
    first, second = (np.asarray(crop_and_resize(Image.fromarray(p), box, 12, 1.5)) for p in (pixels, other))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("side", [100, 127, 128, 147, 148, 178])
def test_a_central_crop_is_torchvisions(side: int) -> None:
    picture = Image.fromarray(noise(4, (178, 218)))
    np.testing.assert_array_equal(np.asarray(picture.crop(crop_box(side))), np.asarray(CenterCrop(side)(picture)))


def test_the_papers_crop_is_not_central() -> None:
    assert crop_box(0) == (15, 40, 163, 188)
    assert crop_box(148) == (15, 35, 163, 183)


@pytest.fixture
def celeba(tmp_path: Path) -> Path:
    """Return a folder with four faces in the official form, stored without loss under the official names."""
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{number:06}.jpg" for number in range(1, 5)]
    for seed, name in enumerate(names):
        file = io.BytesIO()
        Image.fromarray(noise(seed, (178, 218))).save(file, "PNG")
        (folder / "img_align_celeba" / name).write_bytes(file.getvalue())
    rows = [f"{name} {1 if place % 2 else -1}" for place, name in enumerate(names)]
    (folder / "list_attr_celeba.txt").write_text("\n".join(["4", "Smiling", *rows]))
    (folder / "list_eval_partition.txt").write_text("\n".join(f"{n} {s}" for n, s in zip(names, "0012", strict=True)))
    return folder


def faces(source: Path, size: int = 64, **settings: float) -> ImageSet:
    return Celeba(CelebaSettings(**settings)).prepare(DataRequest(source, Path("nowhere"), size))  # type: ignore[arg-type]


def test_celebas_defaults_give_the_images_of_before_byte_for_byte(celeba: Path) -> None:
    prepared = faces(celeba)
    for seed, image in enumerate(prepared.images):
        crop = Image.fromarray(noise(seed, (178, 218))[40:188, 15:163])
        np.testing.assert_array_equal(image, np.asarray(crop.resize((64, 64), Image.Resampling.BICUBIC)))
    # What genbench 0.1.0 made of these files, before there were settings.
    assert fingerprint(prepared) == "abe5f5b0995fdf639406c479adbbf358335d757db51758b17c854b81e9478ce3"
    assert fingerprint(Celeba().prepare(DataRequest(celeba, Path("nowhere"), 64))) == fingerprint(prepared)


def test_celeba_is_blurred_on_the_crop(celeba: Path) -> None:
    for image, seed in zip(faces(celeba, blur=SIGMA).images, range(4), strict=True):
        expected = pillow(blurred(noise(seed, (178, 218))[40:188, 15:163], SIGMA), 64)
        assert np.abs(image - expected).max() <= 1


def test_celeba_is_cropped_in_the_middle(celeba: Path) -> None:
    prepared = faces(celeba, centre_crop=128, size=128)
    np.testing.assert_array_equal(prepared.images[2], noise(2, (178, 218))[45:173, 25:153])


def test_halved_faces_are_cropped_and_blurred_in_proportion(celeba: Path) -> None:
    whole = faces(celeba, 32, blur=3.0, centre_crop=120).images.astype(int)
    for path in (celeba / "img_align_celeba").iterdir():
        halved = Image.open(path).resize((89, 109), Image.Resampling.BOX)
        halved.save(path, "PNG")
    found = {
        blur: np.abs(faces(celeba, 32, blur=blur, centre_crop=120).images - whole).mean() for blur in (0, 1.5, 3, 6)
    }
    assert found[3] < 2
    assert min(found[blur] for blur in (0, 1.5, 6)) > 1.5 * found[3]


def test_stl10_and_lfw_are_blurred_too(tmp_path: Path) -> None:
    pixels = [noise(seed, (96, 96)) for seed in range(22)]
    (tmp_path / "stl10").mkdir()
    for name, images in (("train", pixels[:1]), ("unlabeled", pixels[1:21]), ("test", pixels[21:])):
        content = b"".join(np.ascontiguousarray(image.transpose(2, 1, 0)).tobytes() for image in images)
        (tmp_path / "stl10" / f"{name}_X.bin").write_bytes(content)
    request = DataRequest(tmp_path, Path("nowhere"), 64)
    photographs = Stl10(Stl10Settings(blur=1.5)).prepare(request).images
    for place in (0, 7, 21):
        assert np.abs(photographs[place] - pillow(blurred(pixels[place], 1.5), 64)).max() <= 1

    file = io.BytesIO()
    Image.fromarray(noise(5, (250, 250))).save(file, "PNG")
    (tmp_path / "lfw-deepfunneled" / "Beth_Li").mkdir(parents=True)
    (tmp_path / "lfw-deepfunneled" / "Beth_Li" / "Beth_Li_0001.jpg").write_bytes(file.getvalue())
    (face,) = Lfw(LfwSettings(blur=1.5)).prepare(request).images
    assert np.abs(face - pillow(blurred(noise(5, (250, 250))[50:200, 50:200], 1.5), 64)).max() <= 1


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Plugins:
    return Plugins.load(tmp_path_factory.mktemp("empty"))


def test_settings_that_came_later_leave_the_configuration_of_before(plugins: Plugins) -> None:
    asked = RunRequest(
        "vae", "celeba", similarity="bce", similarity_weight="calibrated", size=32, width=0.25, images=100_000
    )
    before = resolve(plugins, asked)
    assert before.dataset.settings == {}
    # Of a run that genbench 0.1.0 recorded.
    assert before.hash() == "cc5f97715339ac066b02e88bbbd2a02ea1d287c0c42199f5b09db2975687ad1d"
    for text, settings in (("blur=0.76", {"blur": 0.76}), ("centre_crop=128", {"centre_crop": 128})):
        now = resolve(plugins, RunRequest("vae", "celeba", settings=(f"dataset.{text}",)))
        assert now.dataset.settings == settings
    same = resolve(plugins, RunRequest("vae", "celeba", settings=("dataset.blur=0", "dataset.centre_crop=0")))
    assert same.hash() == resolve(plugins, RunRequest("vae", "celeba")).hash()


@pytest.mark.parametrize(
    "text", ["blur=-1", "blur=17", "blur=nan", "centre_crop=-1", "centre_crop=179", "center_crop=1"]
)
def test_bad_settings_are_refused(plugins: Plugins, text: str) -> None:
    with pytest.raises(GenbenchError, match="`celeba`") as caught:
        resolve(plugins, RunRequest("vae", "celeba", settings=(f"dataset.{text}",)))
    if text.startswith("center"):
        assert "did you mean `centre_crop`?" in str(caught.value.hint)


def test_other_settings_are_prepared_apart(plugins: Plugins, celeba: Path, tmp_path: Path) -> None:
    spec = plugins.dataset("celeba")

    def packed(settings: dict[str, float]) -> str:
        config = DataConfig(name="celeba", settings=settings, size=32)
        dataset = Celeba(CelebaSettings(**settings))  # type: ignore[arg-type]
        return prepare_packed(spec, dataset, config, celeba, tmp_path / "cache", lambda _done, _total: None).fingerprint

    assert len({packed({}), packed({"blur": 0.76}), packed({"centre_crop": 128})}) == 3
