import numpy as np
import pytest

from visavis.emotion import EMOTIONS
from visavis.evals.feeling import __main__ as command
from visavis.evals.feeling import measure
from visavis.evals.feeling.asking import decided, logits
from visavis.evals.first_light.table import Table
from visavis.retrieval.embedder import Embedder

LINES = {
    "joy": ["I love this so much!", "What a lovely day", "Thank you, that is great", "This made me laugh"],
    "sadness": ["I miss her every day", "That is so sad", "I cried all night", "Sorry for your loss"],
    "anger": ["Shut up and go away", "I hate these liars", "That makes me furious", "How dare they"],
    "fear": ["I am so scared of this", "That is terrifying", "I was afraid to look", "It frightens me"],
    "surprise": ["Wow, I never knew that", "What a surprise", "I did not expect this", "Oh, really"],
    "disgust": ["That is so gross", "What a disgusting smell", "It makes me sick", "Yuck, mould"],
    "neutral": ["The shop opens at nine", "It is on the second floor", "He lives in Leeds", "Read the manual"],
}


@pytest.fixture
def setting(agent, tmp_path):
    names = [name for name in EMOTIONS if name in LINES]
    (tmp_path / "labels.txt").write_text("\n".join(names))
    for part, some in (("train", slice(0, 3)), ("dev", slice(3, 4))):
        rows = [
            f"{text}{' indeed' * again}\t{names.index(name)}\t{part}{again}{name}{text}"
            for name, texts in LINES.items()
            for text in texts[some]
            for again in range(1 if part == "train" else 4)
        ]
        (tmp_path / f"{part}.tsv").write_text("\n".join(rows) + "\n")
    return measure.Setting(agent.tools.planner, tmp_path, tmp_path / "vectors", limit=6)


def test_macro_f1_by_hand():
    truth, found = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    assert measure.macro_f1(truth, found) == pytest.approx((2 / 3 + 4 / 5) / len(EMOTIONS))
    assert measure.macro_f1(truth, truth) == pytest.approx(2 / len(EMOTIONS))


def test_comments_are_measured_from_beginning_to_end(setting):
    table = Table("felt")
    measure.comments(setting, table)
    names = [row["name"] for row in table.rows]
    assert len(names) == 2 * 6 + 2 and all(0 < row["n"] <= 6 for row in table.rows)
    assert table.value("comments, the model with the heads: accuracy") is not None


def test_what_is_chosen_is_what_the_planner_decides(setting):
    """The sum that the trust is chosen by is the one that the product takes."""
    planner, texts = setting.planner, [text for texts in LINES.values() for text in texts]
    heads = planner.feeling.weigh(Embedder().encode(texts))
    found = (logits(planner.engine, planner.library, texts) + planner.feeling_trust * heads).argmax(1)
    assert found.tolist() == decided(planner, planner.library, texts).tolist()
    table = Table("trust")
    measure.trust(setting, table)
    assert len(table.rows) == 2 * (len(measure.TRUSTS) + 1)


def test_the_cases_are_read():
    cases = measure.two_turns()
    assert len(cases) == 200 and cases[0].text == cases[1].text and cases[0].before != cases[1].before


def test_a_wrong_name_is_told(capsys):
    with pytest.raises(SystemExit):
        command.main(["felt"])
    assert "expected some of comments, turns, plain, speed or trust, got 'felt'" in capsys.readouterr().err
