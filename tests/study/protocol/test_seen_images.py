"""No route brings test images through the training of an arm's weights, or into an external dataset, without a word."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_studies import weights_by_chance
from textured_archives import converted, padded, picture

from fastrad.dataset import BetonFile, write_beton
from fastrad.dataset.fingerprints import own_file
from fastrad.errors import InputError, OptionError
from fastrad.models.export import export
from fastrad.models.resnet import resnet18
from fastrad.models.seen import KEY, datasets_seen
from fastrad.models.weights import load_weights, save_weights
from fastrad.study.protocol.config import CompareConfig, Tuning
from fastrad.study.protocol.plan import Plan, make_plan
from fastrad.study.protocol.record import labels_sha256, study_record
from fastrad.study.protocol.splits import read_splits
from fastrad.train.config import PretrainConfig, Recipe
from fastrad.train.pretrain import pretrain

COUNT = 30
LABELS = ["benign", "malignant"] * (COUNT // 2)


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> CompareConfig:
    """Thirty patients, twelve of them held out."""
    root = tmp_path_factory.mktemp("seen")
    return CompareConfig(
        dataset=converted(root / "study", map(picture, range(COUNT)), LABELS),
        out=root / "out",
        radimagenet=str(weights_by_chance(root / "radimagenet.safetensors")),
        imagenet=str(weights_by_chance(root / "imagenet.pth", seed=2)),
        tuning=Tuning(size=32),
        folds=2,
        seeds=1,
        test_fraction=0.4,
    )


@pytest.fixture(scope="module")
def pretrained(study, tmp_path_factory) -> Path:
    """Weights of `pretrain` on another archive: 29 of the study's 30 images, at another size, and one more."""
    root = tmp_path_factory.mktemp("pretrained")
    pictures = [*map(picture, range(COUNT - 1)), picture(999)]
    train = converted(root / "train", pictures, LABELS, patient="other{}".format, size=32)
    val = converted(root / "val", map(picture, range(500, 510)), LABELS[:10], size=32)
    recipe = replace(Recipe(), epochs=1, size=32, batch_size=10)
    return pretrain(PretrainConfig(train=train / "all.beton", val=val / "all.beton", out=root / "run", recipe=recipe))


def with_weights(study: CompareConfig, weights: Path, **changed) -> Plan:
    return make_plan(replace(study, radimagenet=str(weights), **changed))


def weights_of(path: Path, dataset: Path) -> Path:
    """Weights that say that they were trained on a dataset, as `pretrain` writes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = BetonFile(dataset / "all.beton")
    metadata = {"seen": file.card.identities(), KEY: datasets_seen([(file.path, file.card)], path.parent)}
    save_weights(path, resnet18(2).state_dict(), metadata)
    return path


REFUSED = (
    r"the weights of the radimagenet arm have seen images of \d+ of 12 test patients \(rows .*--drop-seen.*--accept"
)


def test_one_changed_line_of_the_table_does_not_hide_the_others(study, pretrained):
    with pytest.raises(InputError, match=REFUSED):
        with_weights(study, pretrained)


def test_rows_are_named_and_every_one_of_them_is_a_test_image_that_was_seen(study, pretrained):
    plan = with_weights(study, pretrained, accept_seen="for this test")
    dataset, splits = plan.protocol.dataset, plan.protocol.splits
    on_test = set(dataset.rows[splits.test()[dataset.patient_of]].tolist())
    of_test, of_development = (one for one in plan.seen if one.by == "radimagenet")
    assert set(of_test.rows) == on_test - {COUNT - 1}
    assert set(of_development.rows) == set(range(COUNT)) - on_test - {COUNT - 1}
    assert of_test.among + of_development.among == 2 * (COUNT + 10)
    assert any("tested all the same; the reason given: for this test" in notice for notice in plan.notices)
    record = study_record(plan, replace(study, accept_seen="for this test"), [])
    assert record["accepted_seen"] == "for this test"
    assert record["seen"][0]["confirmed"] == of_test.confirmed


def test_fingerprints_missing_beside_imagenets_file_get_a_notice_and_a_record(study, pretrained, tmp_path):
    shutil.copy(pretrained, tmp_path / "alone.safetensors")
    plan = make_plan(replace(study, imagenet=str(tmp_path / "alone.safetensors")))
    assert sum("is not beside it: copy it there" in each for each in plan.notices) == 2
    assert {(one.by, one.among, one.missing, one.unkept) for one in plan.seen} == {("imagenet", 0, COUNT + 10, False)}
    silent = make_plan(study)
    assert not any("imagenet.pth doesn't say which images" in notice for notice in silent.notices)
    assert silent.seen == ()


def test_two_arms_with_one_file_are_both_named(study, pretrained):
    both = replace(study, imagenet=str(pretrained), radimagenet=str(pretrained))
    with pytest.raises(
        InputError, match=r"the imagenet arm have seen .*; the weights of the radimagenet arm have seen"
    ):
        make_plan(both)
    plan = make_plan(replace(both, accept_seen="to compare them"))
    assert [(one.by, one.of) for one in plan.seen] == [
        (arm, of) for arm in ("imagenet", "radimagenet") for of in ("test", "development")
    ]
    assert plan.seen[0] == replace(plan.seen[2], by="imagenet")
    for arm in ("imagenet", "radimagenet"):
        assert sum(f"weights of the {arm} arm have seen" in notice for notice in plan.notices) == 2


def test_drop_seen_that_leaves_nobody_to_test_says_so(study, tmp_path):
    seen = converted(tmp_path / "seen", map(picture, range(COUNT + 2)), [*LABELS, *LABELS[:2]], size=32)
    weights = weights_of(tmp_path / "w" / "weights.safetensors", seen)
    with pytest.raises(
        InputError, match=r"--drop-seen took 12 of the 12 test patients, whom the weights of radimagenet"
    ):
        with_weights(study, weights, drop_seen=True)


@pytest.mark.parametrize("name", ["exported.pth", "exported.safetensors", "elsewhere/renamed.pth"])
def test_exported_and_given_again(study, pretrained, tmp_path, name):
    export(pretrained, "torchvision", tmp_path / name)
    with pytest.raises(InputError, match=REFUSED):
        with_weights(study, tmp_path / name)
    again = load_weights(tmp_path / name)
    assert again.normalisation is not None
    assert again.metadata["classes"] == ["benign", "malignant"]


def test_weights_whose_fingerprints_are_gone_get_a_notice(study, pretrained, tmp_path):
    shutil.copy(pretrained, tmp_path / "alone.safetensors")
    notices = with_weights(study, tmp_path / "alone.safetensors").notices
    missing = [each for each in notices if "is not beside it: copy it there" in each]
    assert [("30 images" in each, "10 images" in each) for each in missing] == [(True, False), (False, True)]


def test_weights_of_0_1_0_and_of_others_get_a_notice(study, tmp_path):
    old = tmp_path / "old.safetensors"
    save_weights(old, resnet18(2).state_dict(), {"card_sha256": "0" * 64})
    earlier, foreign = with_weights(study, old).notices, make_plan(study).notices
    assert any("an earlier version wrote it, without fingerprints" in each for each in earlier)
    assert any("doesn't say which images trained it" in each for each in foreign)


def test_seen_test_patients_can_be_left_out(study, tmp_path):
    seen = converted(tmp_path / "some", map(picture, range(0, COUNT, 3)), LABELS[: COUNT // 3])
    weights = weights_of(tmp_path / "w" / "weights.safetensors", seen)
    whole, plan = make_plan(study), with_weights(study, weights, drop_seen=True)
    before, after = whole.protocol.splits.test(), plan.protocol.splits.test()
    dataset = plan.protocol.dataset
    rows = set(dataset.rows[(before & ~after)[dataset.patient_of]].tolist())
    assert rows == {row for row in range(0, COUNT, 3) if before[dataset.patient_of[row]]}
    assert rows
    assert np.array_equal(plan.protocol.splits.development(), whole.protocol.splits.development())
    assert any(f"{len(rows)} of 12 test patients are left out" in notice for notice in plan.notices)
    kept = ~np.isin(dataset.rows, list(rows))
    of_record = study_record(plan, study, [])["dataset"]["labels_sha256"]
    assert of_record == labels_sha256(dataset.rows[kept], dataset.labels[kept]), "as the predictions will have them"
    (tmp_path / "splits.csv").write_text(plan.protocol.splits.to_csv())
    again = read_splits(tmp_path / "splits.csv", dataset)
    assert np.array_equal(again.fold, plan.protocol.splits.fold)
    with pytest.raises(OptionError, match="--drop-seen and --accept-seen"):
        replace(study, drop_seen=True, accept_seen="why not")


def test_weights_of_other_images_are_taken_without_a_word_of_them(study, tmp_path):
    other = converted(tmp_path / "other", map(picture, range(700, 730)), LABELS, patient="other{}".format)
    plan = with_weights(study, weights_of(tmp_path / "w" / "weights.safetensors", other))
    assert [(one.among, one.confirmed, one.possible) for one in plan.seen] == [(COUNT, (), ()), (COUNT, (), ())]
    assert not any("seen" in notice and "radimagenet arm" in notice for notice in plan.notices)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA),
        lambda image: cv2.resize(padded(image), (224, 224), interpolation=cv2.INTER_AREA),
        lambda image: cv2.convertScaleAbs(image, alpha=0.8, beta=20),
        lambda image: image[:, ::-1],
        lambda image: cv2.resize(padded(image[:, ::-1]), (224, 224), interpolation=cv2.INTER_AREA),
    ],
)
def test_the_studys_images_resized_and_renamed_are_not_external(study, tmp_path, change):
    pictures = [*(change(picture(number)) for number in range(3)), *map(picture, range(800, 805))]
    external = converted(tmp_path / "e", pictures, LABELS[:8], patient="renamed{}".format)
    with pytest.raises(InputError, match=r"of 3 of 8 .* patients \(rows 0, 1, 2\); it is not external"):
        make_plan(replace(study, external=(external,)))
    plan = make_plan(replace(study, external=(external,), accept_seen="they are phantoms"))
    assert any("they are phantoms" in notice for notice in plan.notices)


def test_frames_that_show_nothing_make_no_dataset_the_studys(study, tmp_path):
    black = np.zeros((240, 320), np.uint8)
    ours = converted(tmp_path / "s", [*map(picture, range(COUNT - 2)), black, black], LABELS)
    theirs = converted(tmp_path / "e", [*map(picture, range(800, 806)), black], LABELS[:7], patient="other{}".format)
    plan = make_plan(replace(study, dataset=ours, external=(theirs,)))
    (own,) = (one for one in plan.seen if not one.by)
    assert (own.among, own.confirmed, own.possible) == (2 * COUNT, (), ())


def test_an_external_dataset_that_trained_an_arm_is_refused(study, tmp_path):
    external = converted(tmp_path / "e", map(picture, range(800, 808)), LABELS[:8], patient="other{}".format)
    trained = converted(
        tmp_path / "t", [cv2.resize(picture(number), (96, 96)) for number in range(804, 816)], LABELS[:12]
    )
    weights = weights_of(tmp_path / "w" / "weights.safetensors", trained)
    with pytest.raises(InputError, match=r"radimagenet arm have seen images of 4 of 8 .*it is not external"):
        with_weights(study, weights, external=(external,))


def test_a_dataset_without_fingerprints_is_known_by_its_stored_images(study, pretrained, tmp_path):
    before = BetonFile(study.dataset / "all.beton")
    images = np.stack([before.decode(index) for index in range(COUNT)])
    (tmp_path / "old").mkdir()
    classes = ["benign", "malignant"]
    write_beton(tmp_path / "old" / "all.beton", images, before.labels, before.labels * 0 - 1, classes=classes)
    assert own_file(tmp_path / "old" / "all.beton", BetonFile(tmp_path / "old" / "all.beton").card) is None
    with pytest.raises(InputError, match=REFUSED):
        with_weights(replace(study, dataset=tmp_path / "old"), pretrained)


def test_thyroid_images_of_the_mini_archive_are_found_in_ddti(mini_root, ddti_root, tmp_path, study):
    """The 131 images of US/thyroid are DDTI's at 64 pixels: forty of them, and forty of other organs."""
    by_organ = {}
    for path in sorted((mini_root / "radiology_ai").rglob("*.png")):
        by_organ.setdefault(path.relative_to(mini_root).parts[1:3], []).append(path)
    ddti = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(ddti_root.glob("*.jpg"))]
    labels = ["malignant"] * 20 + ["benign"] * (len(ddti) - 20)
    dataset = converted(tmp_path / "ddti", ddti, labels)
    for organ, expected in ((("US", "thyroid"), True), (("CT", "head"), False), (("MR", "breast"), False)):
        images = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in by_organ[organ][:40]]
        seen = converted(tmp_path / organ[0], images, LABELS + LABELS[:10])
        weights = weights_of(tmp_path / f"w{organ[0]}" / "weights.safetensors", seen)
        config = replace(study, dataset=dataset, radimagenet=str(weights), accept_seen="to count")
        found = [one for one in make_plan(config).seen if one.by == "radimagenet"]
        confirmed = sum(len(one.confirmed) for one in found)
        assert (confirmed >= 40) if expected else (confirmed == 0 and not any(one.possible for one in found))
