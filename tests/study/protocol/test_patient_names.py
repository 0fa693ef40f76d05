"""Tables name patients by the institution's ids, the dataset by pseudonyms; the key of the conversion joins them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from fastrad.dataset import write_beton
from fastrad.errors import InputError
from fastrad.study.protocol.attributes import read_attributes
from fastrad.study.protocol.patient_names import translator
from fastrad.study.protocol.patients import StudyDataset, read_patients
from fastrad.study.protocol.splits import read_splits

KEY = bytes(range(32))
IDS = [f"MRN{number:03d}" for number in range(24)]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "hospital.key"
    path.write_text(KEY.hex() + "\n")
    return path


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyDataset:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))  # where no key is
    names = [hashlib.blake2b(patient.encode(), key=KEY, digest_size=8).hexdigest() for patient in IDS]
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8), dtype=np.uint8)
    classes = ["benign", "malignant"]
    write_beton(tmp_path / "all.beton", images, np.arange(24) % 2, range(24), classes=classes, patient_names=names)
    return read_patients(tmp_path / "all.beton")


def splits_file(folder: Path) -> Path:
    path = folder / "by-site.csv"
    path.write_text(
        "patient,set\n" + "".join(f"{name},{'test' if i < 8 else 'development'}\n" for i, name in enumerate(IDS))
    )
    return path


def test_splits_by_own_ids_are_joined_by_the_key(dataset: StudyDataset, key: Path, tmp_path: Path) -> None:
    splits = read_splits(splits_file(tmp_path), dataset, folds=2, key_path=key)
    held_out = {dataset.patients[index] for index in np.flatnonzero(splits.test())}
    assert held_out == {hashlib.blake2b(name.encode(), key=KEY, digest_size=8).hexdigest() for name in IDS[:8]}
    assert "MRN" not in splits.to_csv()


def test_the_key_of_the_users_configuration_is_found(dataset: StudyDataset, key: Path, tmp_path: Path) -> None:
    (tmp_path / "config" / "fastrad").mkdir(parents=True)
    key.rename(tmp_path / "config" / "fastrad" / "pseudonym.key")
    assert read_splits(splits_file(tmp_path), dataset, folds=2).test().sum() == 8


def test_without_the_key_the_line_is_named_and_the_id_is_not(dataset: StudyDataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 2: the dataset has no such patient; .* --pseudonym-key") as caught:
        read_splits(splits_file(tmp_path), dataset, folds=2)
    assert "MRN" not in str(caught.value)


def test_attributes_by_own_ids_are_joined_by_the_key(dataset: StudyDataset, key: Path, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("patient,sex\n" + "".join(f"{name},{'fm'[i % 2]}\n" for i, name in enumerate(IDS)))
    table = read_attributes(path, ["sex"], dataset, key)
    for number in (0, 7):
        name = hashlib.blake2b(IDS[number].encode(), key=KEY, digest_size=8).hexdigest()
        assert table.loc[name, "sex"] == "fm"[number % 2]
    with path.open("a") as file:
        file.write("MRN000,m\n")
    with pytest.raises(InputError, match=r"line 26: this patient has two values of sex") as caught:
        read_attributes(path, ["sex"], dataset, key)
    assert "MRN" not in str(caught.value)


def test_blanks_around_an_id_do_not_matter_and_lines_are_counted_with_empty_ones(
    dataset: StudyDataset, key: Path, tmp_path: Path
) -> None:
    path = splits_file(tmp_path)
    path.write_text(path.read_text().replace("MRN003,", " MRN003 ,"))
    assert read_splits(path, dataset, folds=2, key_path=key).test().sum() == 8
    path.write_text(path.read_text().replace(" MRN003 ", "\n\nMRN999"))  # after the header and three lines
    with pytest.raises(InputError, match=r"line 7: the dataset has no such patient"):
        read_splits(path, dataset, folds=2, key_path=key)


def test_an_id_that_looks_like_an_image_without_a_patient_is_its_own_patient(key: Path, tmp_path: Path) -> None:
    names = [hashlib.blake2b(patient.encode(), key=KEY, digest_size=8).hexdigest() for patient in ("image-3", "b", "c")]
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8), dtype=np.uint8)
    write_beton(
        tmp_path / "x.beton", images, [0, 1, 0, 1], [0, 1, 2, -1], classes=["benign", "malignant"], patient_names=names
    )
    dataset = read_patients(tmp_path / "x.beton")
    assert "image-3" in dataset.patients
    assert translator(dataset, key)("image-3") == names[0]


def test_other_peoples_attributes_are_counted(dataset: StudyDataset, key: Path, tmp_path: Path, capfd) -> None:
    (tmp_path / "people.csv").write_text("patient,sex\nMRN001,f\nMRN777,m\nMRN778,m\n")
    assert read_attributes(tmp_path / "people.csv", ["sex"], dataset, key)["sex"].tolist().count("f") == 1
    assert "2 of its patients are not in the dataset" in capfd.readouterr().err


def test_a_key_that_is_not_there_is_an_error(dataset: StudyDataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_splits(splits_file(tmp_path), dataset, folds=2, key_path=tmp_path / "lost.key")
