from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from skimage import data
from tests.conftest import random_network, seeded, small_model

import napari_rednet as nr
from napari_rednet.engine.network import NetworkConfig, RedNet, stack_inputs, told_noise
from napari_rednet.models import Model
from napari_rednet.tasks import TASKS
from napari_rednet.training.recipes import RecipeTraining, Start, _psnr, read_recipe, with_length

ROOT = Path(__file__).parents[2]

RECIPE = """
name = "small"
task = "{task}"
[network]
layers = 4
features = 4
in_channels = {channels}
[[images]]
folder = "clean"
share = 1.0
scales = [1.0, 0.9]
held_out = 3
[training]
steps = 3
interval = 3
patch = 16
batch = 2
"""


@pytest.fixture
def folder(tmp_path):
    """Four images of 250 x 260 pixels; the first and the last are held out."""
    (tmp_path / "clean").mkdir()
    for i, name in enumerate("abcd"):
        part = data.camera()[60 * i : 60 * i + 250, 100:360]
        tifffile.imwrite(tmp_path / "clean" / f"{name}.tif", part)
    return tmp_path


def recipe_of(folder, task, text=RECIPE, **changes):
    text = text.format(task=task, channels=TASKS[task].in_channels)
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "small.toml").write_text(text)
    return read_recipe(folder / "small.toml")


def trained(folder, recipe, **options):
    training = RecipeTraining(recipe, folder, folder / "run", device="cpu", **options)
    return list(training.run()), training.model()


VERBS = {
    "denoise": nr.denoise,
    "super_resolve": nr.super_resolve,
    "deblock": nr.deblock,
    "inpaint": nr.inpaint,
}


@pytest.mark.parametrize("task", TASKS)
def test_each_task_is_trained_as_its_recipe_says(task, folder):
    statuses, model = trained(folder, recipe_of(folder, task))
    assert [status.step for status in statuses] == [3]
    assert np.isfinite([statuses[0].loss, statuses[0].gradient_norm]).all()
    assert 5 < statuses[0].score < 60
    assert (model.task, model.name, model.info["steps"]) == (task, "small", 3)
    assert model.info["samples"] == 6
    restored = VERBS[task](np.ones((20, 30)), model=model)
    assert restored.shape == ((40, 60) if task == "super_resolve" else (20, 30))


@pytest.mark.parametrize("task", TASKS)
def test_a_second_run_gives_the_same_weights(task, folder):
    models = [trained(folder, recipe_of(folder, task))[1] for _ in range(2)]
    states = [model.network.state_dict().values() for model in models]
    assert all(torch.equal(one, other) for one, other in zip(*states, strict=True))


@pytest.mark.parametrize("task", TASKS)
def test_the_wrong_number_of_inputs_is_refused(task, folder):
    right = TASKS[task].in_channels
    wrong = {f"in_channels = {right}": f"in_channels = {right + 1}"}
    message = f"in_channels must be {right} for {task}, got {right + 1}"
    with pytest.raises(nr.TrainingError, match=message):
        recipe_of(folder, task, **wrong)


@pytest.mark.parametrize(
    ("task", "corruption"),
    [
        ("denoise", "max_std = 0.1"),
        ("super_resolve", "scales = [2, 4]"),
        ("deblock", "lowest = 20"),
        ("inpaint", "shares = { random = 0.5, dead = 0.5 }"),
    ],
)
def test_the_corruption_is_that_of_the_recipe(task, corruption, folder):
    recipe = recipe_of(folder, task, **{"[training]": f"[corruption]\n{corruption}\n[training]"})
    assert recipe.corruption != recipe_of(folder, task).corruption
    assert len(trained(folder, recipe)[0]) == 1


@pytest.mark.parametrize(
    ("task", "old", "new", "message"),
    [
        ("deblock", 'task = "deblock"', 'task = "paint"', "task must be one of denoise"),
        ("deblock", "layers = 4", "layers = 5", "layers must be an even number"),
        ("deblock", "steps = 3", "paces = 3", "paces"),
        ("deblock", "held_out", "kept_out", "kept_out"),
        ("deblock", "[[images]]", "[[pictures]]", "'images'"),
        ("deblock", "[training]", "[corruption]\nmax_std = 1\n[training]", "max_std"),
        ("inpaint", "[training]", "[corruption]\nshares = { rain = 1 }\n[training]", "got rain"),
        ("deblock", "[training]", "[start]\nnoise = 0.1\n[training]", "model"),
        ("deblock", 'name = "small"', 'name = "small"\ncorruption = 3', "no attribute"),
        (
            "deblock",
            "[training]",
            "[[pairs]]\nnoisy = 'n'\nclean = 'c'\nshare = 1\n[training]",
            "pairs of noisy and clean images are no use for deblock",
        ),
    ],
)
def test_mistakes_in_a_recipe_are_named(task, old, new, message, folder):
    with pytest.raises(nr.TrainingError, match=rf"small.toml cannot be used.*{message}"):
        recipe_of(folder, task, **{old: new})


def test_files_that_are_no_recipes_are_named(tmp_path):
    for content in ("", "images = ['clean']", "name = ", "task = 'denoise'\nnetwork = 3"):
        (tmp_path / "bad.toml").write_text(content)
        with pytest.raises(nr.TrainingError, match=r"bad.toml cannot be used"):
            read_recipe(tmp_path / "bad.toml")
    with pytest.raises(nr.TrainingError, match=r"none.toml cannot be used"):
        read_recipe(tmp_path / "none.toml")


@pytest.mark.parametrize("path", sorted((ROOT / "weights").glob("*.toml")), ids=lambda p: p.stem)
def test_shipped_recipes_can_be_read(path):
    recipe = read_recipe(path)
    assert recipe.name == path.stem == f"{TASKS[recipe.task].prefix}-{path.stem.split('-')[1]}"


def test_the_length_can_be_changed(folder):
    recipe = recipe_of(folder, "deblock")
    assert with_length(recipe, None, None) is recipe
    assert with_length(recipe, 2.0, None).training.minutes == 2
    assert with_length(recipe, None, 7).training.steps == 7


def test_held_out_images_are_not_trained_on(folder):
    """Training does not even read them, where other images measure the progress."""
    expected = trained(folder, recipe_of(folder, "deblock"))[1]
    for name in "ad":
        (folder / "clean" / f"{name}.tif").write_text("no image")
    (folder / "others").mkdir()
    (folder / "clean" / "b.tif").rename(folder / "others" / "b.tif")
    tifffile.imwrite(folder / "clean" / "b.tif", tifffile.imread(folder / "others" / "b.tif"))
    statuses, model = trained(folder, recipe_of(folder, "deblock"), validation=folder / "others")
    assert np.isfinite(statuses[0].score)
    states = [m.network.state_dict().values() for m in (expected, model)]
    assert all(torch.equal(one, other) for one, other in zip(*states, strict=True))


def test_held_out_images_measure_the_progress(folder):
    held = [trained(folder, recipe_of(folder, "deblock"))[0][0].score for _ in range(2)]
    assert held[0] == held[1]
    given = trained(folder, recipe_of(folder, "deblock"), validation=folder / "clean")[0][0].score
    assert held[0] != given


@pytest.mark.parametrize("task", TASKS)
def test_without_held_out_images_nothing_is_measured(task, folder):
    statuses, _ = trained(folder, recipe_of(folder, task, **{"held_out = 3": "held_out = 0"}))
    assert np.isnan(statuses[0].score)


def test_images_too_small_to_measure_on_are_left_out(folder):
    (folder / "small").mkdir()
    tifffile.imwrite(folder / "small" / "a.tif", data.camera()[:100, :300])
    statuses, _ = trained(folder, recipe_of(folder, "deblock"), validation=folder / "small")
    assert np.isnan(statuses[0].score)
    statuses, _ = trained(folder, recipe_of(folder, "denoise"), validation=folder / "small")
    assert np.isfinite(statuses[0].score)


def test_only_pixels_of_some_weight_are_measured():
    clean = torch.rand((1, 1, 20, 20), generator=seeded())
    weights = torch.zeros_like(clean)
    weights[..., :10, :] = 2.0
    restored = torch.where(weights > 0, clean + 0.1, clean + 9)
    assert _psnr(restored, clean, weights) == pytest.approx(20, abs=1e-3)
    assert _psnr(clean + 0.01, clean, torch.ones(1, 1, 1, 1)) == pytest.approx(40, abs=1e-2)


def started(channels, noise):
    network = RedNet(NetworkConfig(layers=6, features=8, in_channels=channels, stride=2))
    Start("mine", noise).copy_into(network, "deblock")
    return network.requires_grad_(False)


@pytest.fixture
def denoiser():
    nr.add_model(small_model("denoise"), "mine")
    return nr.load_model("mine").network


def with_white_noise(image, std):
    """What a denoiser sees of an image whose noise is told to be white."""
    return torch.cat([image, told_noise(std, 0.0, 0.0)], 1)


@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_a_start_without_a_second_input_is_told_nothing(denoiser, noisy_camera, noise):
    image = torch.from_numpy(noisy_camera / 255).float()[None, None]
    found, expected = started(1, noise)(image), denoiser(with_white_noise(image, 0 * image))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert (found - image).abs().max() > 0.05


def test_a_start_with_a_second_input_takes_it_for_the_noise(denoiser, noisy_camera):
    image = torch.from_numpy(noisy_camera / 255).float()[None, None]
    second = torch.rand(image.shape, generator=seeded()).round()
    found = started(2, 0.2)(torch.cat([image, second], 1))
    expected = denoiser(with_white_noise(image, 0.2 * second))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_a_start_does_not_change_the_denoiser(denoiser):
    before = {name: value.clone() for name, value in denoiser.state_dict().items()}
    started(1, 0.5)
    again = nr.load_model("mine").network.state_dict()
    assert all(torch.equal(before[name], value) for name, value in again.items())


@pytest.mark.parametrize("config", [{"layers": 18}, {"features": 32}, {"stride": 1}])
def test_a_start_needs_the_same_network(config):
    options = {"layers": 20, "features": 64, "stride": 2, **config}
    with pytest.raises(nr.TrainingError, match="cannot start from denoise-fast"):
        Start("denoise-fast", 0.1).copy_into(RedNet(NetworkConfig(**options)), "deblock")


@pytest.mark.parametrize(
    ("model", "message"), [("sr-fast", "for super_resolve, not for denoise"), ("none", "no model")]
)
def test_a_start_with_a_level_needs_a_denoiser(model, message):
    network = RedNet(NetworkConfig(layers=20, features=64, stride=2))
    with pytest.raises(nr.ModelError, match=message):
        Start(model, 0.1).copy_into(network, "super_resolve")


@pytest.mark.parametrize("task", ["denoise", "super_resolve", "deblock", "inpaint"])
def test_a_start_without_a_level_is_a_model_of_the_same_task(task):
    model = nr.load_model({"super_resolve": "sr-fast"}.get(task, f"{task}-fast"))
    network = RedNet(model.network.config)
    Start(model.name).copy_into(network, task)
    expected = model.network.state_dict()
    assert all(torch.equal(expected[name], value) for name, value in network.state_dict().items())


def test_a_start_without_a_level_is_for_no_other_task():
    with pytest.raises(nr.ModelError, match="for deblock, not for denoise"):
        Start("deblock-fast").copy_into(RedNet(NetworkConfig(layers=20, stride=2)), "denoise")


def test_starting_weights_are_drawn_as_asked(folder):
    found = []
    for kind in ("he", "orthogonal"):
        text = f"initialization = '{kind}'\n" + RECIPE.replace(
            "steps = 3", "steps = 1\nrate = 1e-9"
        )
        model = trained(folder, recipe_of(folder, "deblock", text))[1]
        found.append(model.network.state_dict()["conv.1.weight"].flatten(1))
    overlaps = [(kernels @ kernels.T).fill_diagonal_(0).abs().max() for kernels in found]
    assert 100 * overlaps[1] < overlaps[0]
    with pytest.raises(nr.TrainingError, match="initialization must be one of he, orthogonal"):
        recipe_of(folder, "deblock", "initialization = 'zero'\n" + RECIPE)


def test_a_recipe_starts_where_it_says(folder, denoiser):
    text = RECIPE.replace("layers = 4\nfeatures = 4", "layers = 6\nfeatures = 8\nstride = 2")
    text = text.replace("steps = 3", "steps = 1\nrate = 1e-9") + "[start]\n"
    text += "model = 'mine'\nnoise = 0.05\n"
    recipe = recipe_of(folder, "super_resolve", text)
    model = trained(folder, recipe)[1]
    expected = denoiser.state_dict()["deconv.1.weight"]
    found = model.network.state_dict()["deconv.1.weight"]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_missing_folders_are_named(folder):
    recipe = recipe_of(folder, "deblock", **{'"clean"': '"void"'})
    with pytest.raises(nr.TrainingError, match=r"no images in .*void"):
        RecipeTraining(recipe, folder, folder / "run", device="cpu")


@pytest.mark.parametrize("revives", [True, False])
def test_a_start_can_revive_what_is_always_zero(folder, revives):
    """A kernel of 0 says 0, and what is behind it never learns."""
    config = NetworkConfig(layers=4, features=4, in_channels=1)
    model = Model("dead", "deblock", random_network(config))
    model.network.conv[1].weight.zero_()
    model.save(folder / "dead.safetensors")
    start = f'[start]\nmodel = "{folder}/dead.safetensors"\nrevive = {str(revives).lower()}\n'
    recipe = recipe_of(folder, "deblock", **{"[training]": start + "[training]"})
    training = RecipeTraining(recipe, folder, folder / "run", device="cpu")
    assert bool(training.trainer.network.conv[1].weight.any()) is revives


def test_patches_grow_towards_the_end(folder):
    """The same pixels a batch, in fewer and larger patches."""
    late = "steps = 4\ninterval = 1\nlate_patch = 32\nlate_from = 0.5\n"
    recipe = recipe_of(
        folder, "deblock", **{"steps = 3\ninterval = 3\n": late, "batch = 2": "batch = 8"}
    )
    training = RecipeTraining(recipe, folder, folder / "run", device="cpu")
    shapes, operations = [], []
    make = training.trainer._make_batch

    def watched(generator):
        batch = make(generator)
        shapes.append(tuple(batch[0].shape))
        operations.append(len(batch[0]) * training.operations_per_patch())
        return batch

    training.trainer._make_batch = watched
    list(training.run())
    assert shapes == [(8, 1, 16, 16)] * 2 + [(2, 1, 32, 32)] * 2
    assert len(set(operations)) == 1


def test_late_patches_must_have_as_many_pixels(folder):
    with pytest.raises(nr.TrainingError, match=r"late_patch .*2 x 16 x 16, got 24"):
        recipe_of(folder, "deblock", **{"batch = 2": "batch = 2\nlate_patch = 24"})


STACKS = {
    "in_channels = 4": "in_channels = 8\nplanes = 3",
    "[training]": "[stacks]\nshares = { static = 0.5, moving = 0.5 }\n[training]",
}


def test_a_network_of_several_planes_is_trained_on_stacks(folder):
    recipe = recipe_of(folder, "denoise", **STACKS)
    statuses, model = trained(folder, recipe)
    assert 5 < statuses[0].score < 60
    stack = np.random.default_rng(0).normal(100, 10, (3, 40, 50))
    assert nr.denoise(stack, along=0, model=model).shape == stack.shape


def test_pairs_without_neighbours_repeat_their_plane(folder):
    for name in ("noisy", "truth"):
        (folder / name).mkdir()
        tifffile.imwrite(folder / name / "a.tif", data.camera()[:100, :100])
    text = "[[pairs]]\nnoisy = 'noisy'\nclean = 'truth'\nshare = 1.0\n[stacks]\n[training]"
    recipe = recipe_of(folder, "denoise", **{**STACKS, "[training]": text})
    training = RecipeTraining(recipe, folder, folder / "run", device="cpu")
    inputs, clean, _ = training._batches(seeded())
    assert inputs.shape == (2, 8, 16, 16)
    assert torch.equal(inputs[:, 1:3], inputs[:, :1].expand(-1, 2, -1, -1))
    assert torch.equal(inputs[:, 6:8], inputs[:, 3:4].expand(-1, 2, -1, -1))
    assert clean.shape == (2, 1, 16, 16)


@pytest.mark.parametrize("planes", [3, 5])
def test_networks_of_several_planes_start_blind_to_the_others(planes, folder, tmp_path):
    single = random_network(NetworkConfig(layers=4, features=4, in_channels=4))
    Model("single", "denoise", single).save(tmp_path / "single.safetensors")
    channels = TASKS["denoise"].channels_for(planes)
    network = RedNet(NetworkConfig(layers=4, features=4, in_channels=channels, planes=planes))
    Start(str(tmp_path / "single.safetensors")).copy_into(network, "denoise")
    noisy, std = torch.rand(2, planes, 12, 14), torch.rand(2, planes, 12, 14)
    middle = slice(planes // 2, planes // 2 + 1)
    expected = single(stack_inputs(noisy[:, middle], std[:, middle], 0.3, 0.1))
    found = network(stack_inputs(noisy, std, 0.3, 0.1))
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-2)  # kept in half precision


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_channels = 4": "in_channels = 8\nplanes = 3"}, "stacks are for networks of several"),
        ({"[training]": "[stacks]\n[training]"}, "stacks are for networks of several"),
        ({**STACKS, "planes = 3": "planes = 2"}, "planes must be an odd number, got 2"),
        ({**STACKS, "static = 0.5": "dancing = 0.5"}, "got dancing"),
        ({**STACKS, "in_channels = 8": "in_channels = 4"}, "in_channels must be 8 for denoise"),
    ],
)
def test_recipes_of_stacks_are_checked(folder, changes, message):
    with pytest.raises(nr.TrainingError, match=message):
        recipe_of(folder, "denoise", **changes)


def test_a_wider_network_starts_where_the_model_is(folder, tmp_path):
    single = random_network(NetworkConfig(layers=4, features=4))
    Model("narrow", "deblock", single).save(tmp_path / "narrow.safetensors")
    network = RedNet(NetworkConfig(layers=4, features=6))
    Start(str(tmp_path / "narrow.safetensors")).copy_into(network, "deblock")
    image = torch.rand((1, 1, 32, 32), generator=seeded())
    torch.testing.assert_close(network(image), single(image), atol=1e-2, rtol=1e-2)


def test_a_start_replaces_biases_by_the_noise(folder, tmp_path):
    config = NetworkConfig(layers=4, features=4, in_channels=4, bias=True)
    biased = random_network(config)
    with torch.no_grad():
        biased.conv[0].bias.fill_(0.1)
    Model("biased", "denoise", biased).save(tmp_path / "biased.safetensors")
    network = RedNet(NetworkConfig(layers=4, features=4, in_channels=4))
    start = Start(str(tmp_path / "biased.safetensors"), bias_level=0.1)
    image = torch.rand((1, 4, 32, 32), generator=seeded())
    start.copy_into(network, "denoise", lambda: image)
    torch.testing.assert_close(network(5 * image), 5 * network(image))
    assert not torch.allclose(network(image), image[:, :1])
