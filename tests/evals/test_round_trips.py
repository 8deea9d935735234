from visavis.evals.any_body.round_trips import measure


def test_every_format_brings_motions_of_both_our_bodies_back(tmp_path):
    table = measure(tmp_path, 0, 1)
    limits = {"°/1000": 100.0, "mm": 1.0, "/255": 1.0}
    kinds = {row["name"].split(":")[0].split()[-1] for row in table.rows}
    assert kinds == {"bvh", "glb", "vrma", "vrm", "npz", "skm", "csv"}
    for row in table.rows:
        assert row["value"] < limits[row["unit"]], row
    faces = [row for row in table.rows if row["unit"] == "/255"]
    assert {row["name"].split(":")[0].split()[-1] for row in faces} >= {"glb", "vrma", "vrm", "csv"}
