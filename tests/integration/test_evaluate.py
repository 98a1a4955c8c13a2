"""`holter evaluate` on real, annotated records, where they are."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from holter.evaluate.main import evaluate

ROOT = Path(os.environ.get("HOLTER_ECG") or Path(__file__).parents[3] / "shared" / "ecg")


@pytest.mark.timeout(300)
def test_a_record_of_each_database(tmp_path):
    wanted = [ROOT / "mitdb" / "119", ROOT / "vfdb" / "430"]
    for record in wanted:
        if not record.with_suffix(".hea").exists():
            pytest.skip(f"{record}.hea is not there: HOLTER_ECG has to name a folder with the records mitdb/ and vfdb/")
        for file in record.parent.glob(f"{record.name}.*"):
            (tmp_path / file.name).symlink_to(file)
    out = tmp_path / "all.json"
    result = CliRunner().invoke(evaluate, [str(tmp_path), "--json", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    figures = json.loads(out.read_bytes())
    bigeminy, fibrillation = figures["records"]
    assert (bigeminy["record"], bigeminy["fs"]) == ("119", 360.0)
    assert bigeminy["rates"]["sensitivity"] > 0.995
    assert bigeminy["rates"]["veb_sensitivity"] > 0.95
    assert bigeminy["windows"]["auroc"] > 0.95
    assert bigeminy["alerts"]["false_high"] == 0
    assert fibrillation["missing"] == "no beats annotated"
    lethal = [e for e in figures["every_episode"] if e["record"] == "430" and e["group"] != "SVTA"]
    assert len(lethal) >= 10
    assert sum(e["within"] or e["under_open"] for e in lethal) >= 0.9 * len(lethal)
