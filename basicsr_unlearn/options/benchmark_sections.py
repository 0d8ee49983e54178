"""The sections of a benchmark file."""
from typing import Annotated

from annotated_types import MinLen

from basicsr_unlearn.core.hints import Count, NotNegative, Positive
from basicsr_unlearn.options.audit_sections import Few, Retraining, Steps
from basicsr_unlearn.options.components import MIX, RetainDegradation, one
from basicsr_unlearn.options.values import FromZero, Plugin, Section, Text, needed, option


class Target(Section):
    """What is to be forgotten; named as its test set."""
    forget: Annotated[MIX, MinLen(1)] = needed('as in datasets.train')
    retain: MIX | None = option('as in datasets.train')
    retain_degradations: list[RetainDegradation] | None = option(
        "where a method has no retain data: made from the forget pairs' clean images")
    keep: list[Text] | None = option('test sets that are to be kept; left out: all others')
    relearn: Annotated[MIX, MinLen(1)] = needed('paired data sets that the skill is learned again from')
    retrained: list[Text] | None = option('checkpoints, or records of this command as .json')


class Method(Section):
    """A method, where its name alone does not say enough."""
    method: Text = needed('a preset')
    label: Text = option('what the table calls it; left out: the preset')
    total_iter: Count = option('its steps')
    train: dict = option('options in place of its own')
    data: dict = option('in place of what datasets.train would be; `retain: ~` takes the retain data away')
    targets: list[Text] = option('for these alone')


class Relearn(Section):
    """How the skill is learned again."""
    pairs: Count = needed('that are learned from')
    patch: Count = option('in pixels')
    images: Few = option('of the test set; ~: all')
    steps: Steps = needed('at which is scored, each larger than the one before')
    lr: Positive = needed('of the attacker')


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
    test: dict[str, one('data set')] = needed('by name; the one named as the target is its forget set')
    relearn: Relearn = needed('how the skill is learned again')
    retraining: Retraining = needed('what a retrained network costs')
    skill_margin: NotNegative | None = option('dB by which the original has to be better than its input')
    jobs: Count = option('runs at a time', 1)
