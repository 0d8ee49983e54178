"""The sections of a benchmark file."""
from typing import Annotated

from annotated_types import MinLen

from basicsr_unlearn.core.hints import Count, NotNegative, Positive
from basicsr_unlearn.options.attack_sections import Attackers
from basicsr_unlearn.options.audit_sections import Few, Retraining
from basicsr_unlearn.options.components import MIX, RetainDegradation, one
from basicsr_unlearn.options.values import FromZero, Plugin, Section, Text, needed, option


class AttackData(Section):
    """What attackers learn from: best photographs that no network was trained on."""
    forget: Annotated[MIX, MinLen(1)] = needed('paired data sets of what is to be forgotten')
    retain: MIX | None = option('paired data sets of the rest; left out: the retain sets of the target')


class Target(Section):
    """What is to be forgotten; named as its test set."""
    forget: Annotated[MIX, MinLen(1)] = needed('as in datasets.train')
    retain: MIX | None = option('as in datasets.train')
    retain_degradations: list[RetainDegradation] | None = option(
        "where a method has no retain data: made from the forget pairs' clean images")
    strengths: list[Text] | None = option('further test sets of it, at other strengths: the gap is the worst of all')
    keep: list[Text] | None = option('test sets that are to be kept; left out: all others')
    attack_data: AttackData = needed('what attackers learn from')
    retrained: list[Text] | None = option('checkpoints of networks that were trained without it')


class Method(Section):
    """A method, where its name alone does not say enough."""
    method: Text = needed('a preset')
    label: Text = option('what the table calls it; left out: the preset')
    total_iter: Count = option('its steps')
    train: dict = option('options in place of its own')
    data: dict = option('in place of what datasets.train would be; `retain: ~` takes the retain data away')
    targets: list[Text] = option('for these alone')
    budget: Positive = option("percent of retraining's arithmetic that it is meant to stay within; more is said")
    attacks: Attackers = option('how it is attacked, where not as the others; the retrained networks are, too')


class AttacksOnAll(Attackers):
    """How every network is attacked: the fields of a method's attacks, quick unless it says otherwise."""
    quick: bool = option('the three strongest kinds of attackers alone, as a board has hundreds of networks', True)
    images: Few = option('of the test set that are scored; left out: all')


class BenchmarkFile(Section):
    """A benchmark file: every method on every target, with every seed."""
    plugin: Plugin = option('the package that registers the components, or a list of packages')
    name: Text = needed('of the benchmark: results go to results/benchmark/NAME')
    base: Text = needed('an unlearning option file: network, original, settings of the training data, schedule')
    data: dict = option('in place of what its datasets.train says')
    targets: dict[str, Target] = needed('by name of the test set')
    methods: list[Text | Method] = needed('names of presets, or blocks')
    seeds: Annotated[list[FromZero], MinLen(1)] = needed('each larger than the one before')
    total_iter: Count = needed('steps of a method that does not say its own')
    budget: Positive = option("percent of retraining's arithmetic that these are meant to stay within")
    test: dict[str, one('data set')] = needed('by name; the one named as the target is its forget set')
    attacks: AttacksOnAll = option('how every network is attacked')
    retraining: Retraining = needed("what a retrained network costs, of patches as large as this file's")
    budgets: Annotated[list[Positive], MinLen(1)] = option(
        "percent of retraining's arithmetic, each larger than the one before: ranks are within each", [1, 10, 20])
    skill_margin: NotNegative | None = option('dB by which the original has to be better than its input')
    jobs: Count = option('runs at a time', 1)
