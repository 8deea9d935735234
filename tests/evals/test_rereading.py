import numpy as np
import pytest

from visavis.errors import UsageError
from visavis.evals.first_light.table import Table
from visavis.evals.personas import rereading
from visavis.evals.personas.held import held
from visavis.evals.personas.rereading import Case, apart, compare, fit_join
from visavis.finetune.replies.people import people


def drawn(count=600, noise=1.0):
    """Lines whose first reading is noise and whose second one knows, of ten people."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        truth = number % 5  # the fact that answers; 3 and 4: none of the three
        right = tuple(place == truth for place in range(3))
        said = np.where(right, 1.0, -1.0) + rng.normal(size=3) * noise / 2
        act = "known" if truth < 3 else ("near" if truth == 3 else "far")
        read = said if number % 7 else np.zeros(0)
        found.append(Case(f"p{number // 5 % 10}", act, right, rng.normal(size=3), read))
    return found


def test_the_join_listens_to_who_knows():
    join = fit_join(drawn())
    assert join[1] > 1.0 and abs(join[0]) < 0.4
    with pytest.raises(UsageError, match="draw more lines"):
        fit_join([case for case in drawn(7) if not len(case.said)])


def test_figures_are_of_people_in_the_other_half():
    table = Table("both")
    compare(drawn(), table, rounds=50)
    assert table.value("right fact first, gain") > 0.2 and table.value("AUC known, unknown, gain") > 0.1
    assert table.value("lines read again") == pytest.approx(100 * 6 / 7, abs=0.5)
    joins = rereading.crossed(drawn())
    assert len({tuple(join) for join in joins}) == 2


def test_nobody_of_the_frozen_questions_is_asked():
    names = [person.name for person in apart()]
    assert len(names) > 100 and not {one.persona.name for one in held() if not one.setting} & set(names)
    assert set(names) <= {person.name for person in people("dev")}
