"""Hunting shows: what scores the same test patients otherwise is counted, whatever folder it is done in."""

from __future__ import annotations

import os
import stat

import pytest

from fastrad.study.protocol.ledger import LEDGER, differing, enter, home_ledger, overlap, read_ledger, scoring_now


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture
def studies(tmp_path):
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder in folders:
        folder.mkdir()
    return folders


def scoring(rows=range(10), rate=3e-4, dataset="archive"):
    return scoring_now(dataset, rows, {"learning_rate": rate, "arms": {"none": ""}})


def test_the_same_settings_in_any_folder_are_one_scoring(studies):
    for folder in studies:
        enter(folder, scoring())
        enter(folder, scoring())
        assert len(read_ledger(folder / LEDGER)) == 1
    assert len(read_ledger(home_ledger("archive"))) == 1


def test_other_settings_are_another_scoring_also_in_a_fresh_folder(studies):
    one, two, three = studies
    enter(one, scoring(rate=1e-3))
    enter(two, scoring(rate=1e-4))
    enter(three, scoring(rate=3e-4))
    assert len(read_ledger(three / LEDGER)) == 3
    assert len(read_ledger(one / LEDGER)) == 1, "what came later is in the later study's"
    first, *_ = read_ledger(three / LEDGER)
    assert differing(first.settings, scoring().settings) == ["learning_rate"]


def test_only_scorings_of_shared_images_of_the_same_archive_count(studies):
    one, two, three = studies
    enter(one, scoring(rows=range(10, 20), rate=1.0))
    enter(two, scoring(rows=range(10), rate=2.0, dataset="another"))
    enter(three, scoring(rows=range(9, 12)))
    found = read_ledger(three / LEDGER)
    assert sorted(overlap(each, scoring(rows=range(9, 12))) for each in found) == [2, 3]


def test_an_external_set_leaves_the_studys_own_entry(studies):
    enter(studies[0], scoring())
    enter(studies[0], scoring(dataset="elsewhere"))
    assert {each.dataset for each in read_ledger(studies[0] / LEDGER)} == {"archive", "elsewhere"}


def test_no_home_is_no_failure(studies, home, capsys):
    home.write_text("a file where the folder should be")
    enter(studies[0], scoring())
    assert len(read_ledger(studies[0] / LEDGER)) == 1
    assert "notice: your configuration folder has no ledger of test scorings" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_home_is_no_failure(studies, home, capsys):
    home.mkdir(mode=0o500)
    enter(studies[0], scoring())
    assert len(read_ledger(studies[0] / LEDGER)) == 1
    assert "Permission denied" in capsys.readouterr().err


def test_the_users_ledger_is_the_users_alone_and_names_nobody(studies):
    enter(studies[0], scoring())
    path = home_ledger("archive")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "archive" not in path.name
    assert '"rows": "3ff"' in path.read_text()


def test_lines_that_are_no_entries_are_passed_over_and_told(studies, capsys):
    enter(studies[0], scoring())
    path = studies[0] / LEDGER
    path.write_bytes(path.read_bytes() + b'[1]\n{"rows": "xyz"}\n\xff\n' + b"[" * 100_000 + b"\n")
    assert len(read_ledger(path)) == 1
    assert "4 of its lines are no entries" in capsys.readouterr().err


def test_a_link_in_the_ledgers_place_is_not_followed(studies, tmp_path):
    path = home_ledger("archive")
    path.parent.mkdir(parents=True)
    (tmp_path / "precious").write_text("mine")
    path.symlink_to(tmp_path / "precious")
    enter(studies[0], scoring())
    assert (tmp_path / "precious").read_text() == "mine"
