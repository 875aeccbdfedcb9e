"""The figures of the models: drawn from what the bundles carry, each with its numbers."""

import re
from xml.etree import ElementTree

import pytest
from django.test import Client
from django.urls import reverse

from diagnosis import inference
from diagnosis.models import Clinic, Diagnosis, OperatingPoint, Outcome
from diagnosis.portal import advice, curves, model_figures, worth
from diagnosis.portal.charts import Mark
from diagnosis.portal.curves import Axis, Curve, Place
from diagnosis.portal.figures import part
from diagnosis.portal.views.models import bundles_in_use
from tests.factories import PatientFactory, finished_diagnosis


def image_bundle() -> dict:
    return next(bundle for bundle in bundles_in_use() if bundle["name"] == worth.IMAGE_BUNDLE)


def text_of(answer: object) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def test_a_curve_begins_and_ends_where_its_axes_say() -> None:
    axis = Axis(title="Across", low=0.5, high=1.0, number=part)

    chart = curves.curves(
        "c",
        title="t",
        across=axis,
        upward=Axis(title="Upward", low=0.0, high=2.0, number=str),
        drawn=[Curve(name="One", points=[(0.5, 0.0), (1.0, 2.0)], style=0)],
        marks=[Mark(x=0.75, y=1.0, low=0.5, high=1.5, size=1)],
        places=[Place(name="There", x=1.0, y=0.0, style=2)],
    )

    root = ElementTree.fromstring(chart.svg)
    (line,) = [each for each in root.iter() if "chart-line" in each.get("class", "")]
    left, right = curves.LEFT, curves.LEFT + curves.INNER_WIDTH
    assert line.get("points") == f"{left},218 {right},12"
    texts = [each.text for each in root.iter() if "chart-text" in each.get("class", "")]
    assert {"Across", "Upward", "50 %", "100 %"} <= set(texts)
    assert [name for _swatch, name in chart.legend] == ["One", "There"]


def test_every_condition_has_its_curve_with_both_thresholds_of_each_point() -> None:
    bundle = image_bundle()

    for figure, (_condition, row) in zip(
        model_figures.of_statements(bundle), bundle["curves"]["roc"].items(), strict=True
    ):
        said = [name for _swatch, name in figure.chart.legend]
        for point, each in row["thresholds"].items():
            label = OperatingPoint(point).label
            assert f"{label}: not suspected below {each['rule_out']['threshold']:.2f}" in said
            assert f"{label}: suspected from {each['rule_in']['threshold']:.2f}" in said
        assert part(row["sensitivity"][10]) in [line[2] for line in figure.rows if line[1] == "10 %"]
        assert f"{row['area']:.2f}" in figure.lead


def test_the_page_of_models_shows_every_figure_with_its_table_and_the_prototypes_claim(reader: Client) -> None:
    answer = reader.get(reverse("portal:models"))

    page, text = answer.content.decode(), text_of(answer)
    figures = model_figures.of_bundles(bundles_in_use())
    assert len(figures) >= 8
    for figure in figures:
        assert f'<svg class="chart" id="{figure.key}"' in page
        assert f'aria-labelledby="{figure.key}-title"' in page
    assert page.count('<details class="numbers">') == len(figures)
    metrics = image_bundle()["metrics"]
    assert "96.58 %" in text
    assert f"here is {metrics['macro_auc']:.3f} ({metrics['macro_auc_ci95'][0]:.3f} to" in text
    assert "each class came from a camera of its own" in text
    assert "There is no code behind the figure" in text


def test_most_of_the_measured_photographs_show_a_condition_as_the_page_says() -> None:
    figure = next(each for each in model_figures.of_probabilities(image_bundle()) if each.key == "model-coverage")

    assert "more than half of these photographs show a condition" in figure.lead
    assert image_bundle()["statement_figures"]["points"]["balanced"]["one_eye"]["disease_in_all"] > 0.5


def test_what_was_not_kept_of_a_training_is_said(reader: Client) -> None:
    text = text_of(reader.get(reverse("portal:models")))

    assert "only these points were kept; its losses were not" in text
    assert "of one network of the same kind, trained before them" in text


def test_about_shows_the_curves_of_the_conditions_to_everybody(client: Client) -> None:
    answer = client.get(reverse("portal:about"))

    for figure in model_figures.of_statements(image_bundle()):
        assert f'id="{figure.key}"' in answer.content.decode()
    assert "96.58 %" in text_of(answer)


def test_bundles_without_curves_have_no_figures(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = [{**bundle, "curves": None} for bundle in inference.bundles()]
    monkeypatch.setattr(inference, "bundles", lambda: bare)

    page = reader.get(reverse("portal:models")).content.decode()

    assert 'id="figures"' not in page


def result(clinic: Clinic, **fields: object) -> Diagnosis:
    spoke = [{name: image_bundle()[name] for name in ("name", "version", "sha256")}]
    return finished_diagnosis(image__patient=PatientFactory(clinic=clinic), model_bundles=spoke, **fields)


def test_an_indeterminate_result_says_how_often_that_happens(clinic: Clinic) -> None:
    row = image_bundle()["statement_figures"]["points"]["balanced"]["one_eye"]

    (said,) = worth.sentences(result(clinic, outcome=Outcome.INDETERMINATE, prediction=""))

    assert f"about {100 * (1 - row['missed'] - row['found']):.0f} are left indeterminate" in said
    assert f"of 100 with no sign {100 * (1 - row['specificity'] - row['false_alarm']):.0f}:" in said


def test_a_photograph_unlike_the_training_ones_gets_no_figure_of_others(clinic: Clinic) -> None:
    quality = {"gradable": True, "score": 0.9, "reasons": [], "remarks": ["unlike_training"]}

    assert worth.sentences(result(clinic, outcome=Outcome.INDETERMINATE, prediction="", quality=quality)) == []


@pytest.mark.parametrize("point", OperatingPoint.values)
def test_advice_on_no_sign_follows_the_operating_point(clinic: Clinic, point: str) -> None:
    probabilities = {"DiabeticRetinopathy": 0.01, "Glaucoma": 0.01, "Myopia": 0.01, "Normal": 0.97}
    diagnosis = result(clinic, prediction="Normal", probabilities=probabilities, operating_point=point)

    steps = [str(step) for step in advice.for_result(diagnosis).steps]

    assert sum(f"at the {point} point, where" in step for step in steps) == 1


def test_what_the_advice_says_of_the_points_is_so() -> None:
    points = image_bundle()["statement_figures"]["points"]
    balanced, screening = (points[name]["one_eye"] for name in ("balanced", "screening"))

    assert 0 < screening["missed"] < balanced["missed"]
    assert screening["false_alarm"] > balanced["false_alarm"]


def test_a_suspicion_at_the_screening_point_is_a_reason_to_examine(clinic: Clinic) -> None:
    at = {
        point: [str(step) for step in advice.for_result(result(clinic, operating_point=point)).steps]
        for point in OperatingPoint.values
    }

    assert any("a reason to examine, not yet to treat" in step for step in at["screening"])
    assert not any("a reason to examine" in step for step in at["balanced"])
