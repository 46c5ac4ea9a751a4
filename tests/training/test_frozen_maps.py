"""Training on stored maps of a frozen network."""

from dataclasses import replace

import pytest
import torch
from fake_datasets import make_image_folder
from staged_runs import images_to_test, open_run

from architectures.backbones.frozen import trained_part
from architectures.backbones.timm_models import TimmBackbone
from architectures.classifier import build_dense_model
from architectures.sparse_head import SparseLayer, build_head
from configs.recipes import HeadRecipe
from configs.run_files import selection_file
from training import forecast, frozen_maps
from training.dense import train_dense
from training.finetune import equalise_spread, finetune
from training.frozen_maps import stored_bytes, stored_view
from training.monitor import Monitor
from training.plan import ends_reduced, epochs_left, planned_phases, trains_reduced


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    make_image_folder(root, train=4, test=2)
    weights = root.parent / "weights.pth"
    torch.save(build_dense_model("mobilenetv3_small_050", 5).state_dict(), weights)
    return (
        f"--dataset ImageFolder --data_root {root} --arch mobilenetv3_small_050 --img_size 64 --weights {weights} "
        "--freeze_backbone --batch_size 4 --seed 0 --eval_every 0 --set dense.epochs=3 --set dense.views=2 "
        "--set dense.dropout=0.5 --set dense.lr=1 --set dense.classifier_lr=1 --n_features 4 --n_per_class 3 "
        "--set dense.optimizer=sgd dense.weight_decay=5e-4"  # what Adam does with rounding is no small difference
    )


def test_stored_maps_teach_the_same_as_images(flags, tmp_path, monkeypatch, caplog):
    stored = open_run(flags, tmp_path / "stored")
    of_maps = train_dense(stored).state_dict()
    assert len(stored.frozen_maps) == 2
    monkeypatch.setattr(frozen_maps, "SHARE_OF_MEMORY", 0)
    run = open_run(flags, tmp_path / "images")
    of_images = train_dense(run).state_dict()
    assert not run.frozen_maps and "they are made again in every epoch" in caplog.text
    start = build_dense_model("mobilenetv3_small_050", 5, frozen=True).state_dict()
    learnt = (of_images["adapter.weight"] - start["adapter.weight"]).abs().max()
    differing = (of_maps["adapter.weight"] - of_images["adapter.weight"]).abs().max()
    assert learnt > 1e-3 and differing < 0.02 * learnt


def test_accuracies_on_stored_maps_are_those_of_the_whole_model_for_one_pass(flags, tmp_path, monkeypatch):
    run = open_run(f"{flags} --eval_every 1", tmp_path)
    passes, accuracies, measure = [], [], Monitor.measure

    def seen(self, images):
        passes.append(len(images))
        return network_maps(self, images)

    def measured_twice(self, model, name, epochs_done, stored):
        accuracies.append(measure(self, model, name, epochs_done, stored))
        counted = len(passes)
        assert stored and measure(self, model, name, epochs_done) == accuracies[-1]
        del passes[counted:]
        return accuracies[-1]

    network_maps = TimmBackbone.maps
    monkeypatch.setattr(TimmBackbone, "maps", seen)
    monkeypatch.setattr(Monitor, "measure", measured_twice)
    model = train_dense(run)
    size_of_maps, views, train, test = 1, 2, len(run.data.train), len(run.data.test)
    assert len(accuracies) == 3 and sum(passes) == size_of_maps + views * train + test
    model.backbone.reduce_strides(False)  # as in training
    whole, behind = model.eval(), trained_part(model).eval()
    images = images_to_test(run)
    maps = torch.stack([maps for maps, _ in stored_view(run, model.backbone, None)])
    with torch.inference_mode():
        assert torch.equal(whole(images).logits, behind(maps).logits)


def test_finetuning_the_last_stage_on_stored_maps_is_finetuning_it_on_images(tmp_path, monkeypatch):
    make_image_folder(tmp_path / "photos", train=4, test=2)
    dense = build_dense_model("resnet18", 5)
    weights = tmp_path / "weights.pth"
    torch.save(dense.state_dict(), weights)
    flags = (
        f"--dataset ImageFolder --data_root {tmp_path / 'photos'} --arch resnet18 --img_size 64 --seed 0 "
        f"--weights {weights} --batch_size 4 --eval_every 1 --n_features 4 --n_per_class 3 --set finetune.views=2 "
        "--set finetune.last_stage=True --set finetune.round_epochs=1,2 --set finetune.coarse_rounds=1"
    )
    classes = torch.tensor([[1.0, 1, 1, 0], [1, 1, 0, 1], [0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 1, 0]])
    layer = SparseLayer(torch.arange(4), classes, torch.zeros(4), torch.ones(4))

    def finetuned(folder):
        run, passes = open_run(flags, tmp_path / folder), []
        run.folder.artefact(selection_file(run.settings), {}).write(layer.save)
        model = build_dense_model("resnet18", 5)
        model.load_state_dict(dense.state_dict())
        model.backbone.conv1.register_forward_hook(lambda *_: passes.append(1))
        return finetune(run, model, layer).state_dict(), len(passes)

    of_maps, few = finetuned("stored")
    monkeypatch.setattr(frozen_maps, "SHARE_OF_MEMORY", 0)
    of_images, many = finetuned("images")
    assert few < many
    for key, start in dense.state_dict().items():
        if key.startswith("layer4.") and key.endswith("conv1.weight"):
            learnt = (of_images[key] - start).norm()
            assert learnt > 1e-3 and (of_maps[key] - of_images[key]).norm() < 0.1 * learnt
        elif not key.startswith(("layer4.", "linear.")):
            assert start.equal(of_maps[key]) and start.equal(of_images[key])


def test_a_forecast_counts_the_stored_maps(flags, tmp_path, monkeypatch):
    run = open_run(flags, tmp_path)
    monkeypatch.setattr(forecast, "memory_used", lambda device: 100.0)
    backbone = build_dense_model("mobilenetv3_small_050", 2, reduced_strides=False, frozen=True).backbone
    maps = backbone.maps(torch.zeros(1, 3, 64, 64)).numel()
    view, nothing_watched = stored_bytes(run, backbone, 1)
    assert (view, nothing_watched) == (2 * len(run.data.train) * maps, 0)
    watching = open_run(f"{flags} --eval_every 5", tmp_path)
    assert stored_bytes(watching, backbone, 1) == (view, 4 * len(run.data.test) * maps)
    views = run.settings.finetuning.views
    assert views > run.settings.dense.views
    assert forecast.measured_pace(run).memory_mb == pytest.approx(100 + views * view / 1e6)


def test_epochs_on_stored_maps_cost_next_to_nothing(flags, tmp_path):
    settings = open_run(flags, tmp_path).settings
    assert settings.finetuning.last_stage  # which this network does not have
    # Dense training stores maps of other layers than those before the last stage.
    last_stage = planned_phases(replace(settings, arch="convnext_atto"))[1]
    assert last_stage.new_views == range(settings.finetuning.views)
    assert last_stage.stored_cost > planned_phases(settings)[1].stored_cost
    assert ends_reduced(settings) and not trains_reduced(settings)
    dense, *finetuning = planned_phases(settings)
    assert (dense.epochs, dense.new_views) == (3, range(2))
    assert finetuning[0].new_views == range(2, settings.finetuning.views)  # 2 are stored
    assert planned_phases(settings, dense=False)[0].new_views == range(settings.finetuning.views)
    seen = dense.cost * settings.finetuning.views
    finetuned = sum(p.cost_after() for p in finetuning)
    assert epochs_left(settings, "dense", 0, 2) == pytest.approx((dense.epoch_cost(2) + finetuned) / dense.cost)
    assert epochs_left(settings, "dense", 0, 0) == pytest.approx(seen / dense.cost, rel=0.2)


def test_the_selected_features_of_a_frozen_network_get_one_spread_and_logits_stay():
    model = build_dense_model("mobilenetv3_small_050", 2, frozen=True).eval()
    torch.nn.init.normal_(model.backbone.adapter.weight, std=0.1)
    spread = torch.tensor([1e-4, 0.3, 2.0])
    layer = SparseLayer(torch.tensor([5, 0, 9]), torch.tensor([[1.0, 0, 1], [0, 1, 1]]), spread, spread)
    head, images = build_head(layer, HeadRecipe(relu=True)), torch.rand(4, 3, 64, 64)
    model.set_sparse_head(head)
    before = model(images).logits
    equalise_spread(model.backbone, head)
    assert torch.allclose(head.std, torch.tensor(0.3))
    assert torch.allclose(model(images).logits, before, rtol=1e-4) and before.std() > 0


def test_a_schedule_of_any_length_is_estimated_at_once(flags, tmp_path):
    settings = open_run(f"{flags} --schedule_scale 1e9 --eval_every 5", tmp_path).settings
    dense, *_ = phases = planned_phases(settings)
    assert dense.epochs == 3 and phases[-1].cost_after(1.5) == pytest.approx(
        phases[-1].stored_cost * (phases[-1].epochs - 1.5)
    )
    looks = forecast.cost_of_measuring(settings, phases, phases[-1].stage)
    n = sum(p.epochs for p in phases[1:]) // 5
    assert looks == pytest.approx(phases[-1].cost + phases[-1].stored_cost * (n - 1))
