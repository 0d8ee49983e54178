"""The sections of an audit's option file."""
from typing import Literal

from basicsr_unlearn.core.attacks import AttackOptions
from basicsr_unlearn.core.hints import Count, NotNegative, Positive
from basicsr_unlearn.options.attack_sections import Attackers
from basicsr_unlearn.options.components import OfMetric, one
from basicsr_unlearn.options.signatures import plain
from basicsr_unlearn.options.values import FromZero, Plugin, Section, Text, needed, option

Few = Count | None


class Networks(Section):
    """The checkpoints that are held against one another."""
    original: Text = needed('the network before')
    unlearned: Text = needed('the network after')
    retrained: Text | list[Text] | None = option('trained from scratch without the forget set; one or more')


class Shadow(Section):
    """A network whose training images are known."""
    checkpoint: Text = needed('its weights')
    trained_on: Text | list[Text] = needed('names of its training images, or a text file of them')


class Membership(Section):
    """Whether training images can be told."""
    members: Text = needed('data set of images that the original was trained on')
    unseen: Text = needed('data set of images that no network was trained on')
    shadow: list[Shadow] | None = option('networks of known training data, for the likelihood-ratio attack')


class Attacks(Attackers):
    """Every attacker, also those that know the method, against every network."""
    train: Text = needed('data set of forget pairs that they learn from: role forget, unseen or attacker')
    retain: Text | list[Text] | None = option('data sets with role attacker of what the network still does; ~: nobody '
                                              'learns from such')
    test: Text = needed('data set that is scored: role forget or unseen')
    images: Few = option('of it; ~: all')
    record: Text | None = option('run.json of the run, whose edits, masks and anchors they undo; ~: the one beside the '
                                 'folder of the checkpoint')


class Representation(Section):
    """What is left inside the network."""
    dataset: Text = needed('data set that is looked at')
    images: Few = option('of it; ~: all')
    layers: Text | list[Text] | None = option('names of modules; ~: encoder and bottleneck')


class Robustness(Section):
    """What small changes of the input do."""
    images: Few = option('of each set; ~: all')
    attack: plain(AttackOptions) = option('how the input is changed')


class Retraining(Section):
    """What training from scratch costs."""
    steps: Count = needed('of the training')
    batch: Count = needed('samples in a step')


class Cost(Section):
    """What unlearning cost."""
    record: Text | None = option('run.json of the run; ~: the one beside the folder of the checkpoint')
    log: Text | None = option('a log of the run, beside which its run.json lies; write record instead')
    retraining: Retraining = needed('what it is held against')


class Measure(Section):
    """What is measured, beside the scores."""
    membership: Membership | None = option('whether training images can be told')
    attacks: Attacks | None = option('how soon the strongest attacker has the skill again')
    representation: Representation | None = option('what is left inside')
    robustness: Robustness | None = option('what small changes of the input do')
    cost: Cost | None = option('what it cost')


class OverForgotten(Section):
    """When forgetting is damage."""
    below: Positive = needed('dB below the retrained networks')
    collapsed: Positive = needed('dB below the untouched input')


class Limits(Section):
    """What a level asks for, in dB but for membership."""
    forget_gap: NotNegative = option('distance from the retrained networks on the forget sets')
    retain_loss: NotNegative = option("of the original's score elsewhere")
    membership: NotNegative = option('distance of the AUC from theirs')
    lead: NotNegative = option('of the strongest attacker over the strongest retrained network')


class Levels(Section):
    """The limits of each level, by what they assure."""
    outputs: Limits = needed("the outputs are a retrained network's")
    members: Limits = needed('training images cannot be told')
    weights: Limits = needed('no attacker gets the skill back sooner')


class Verdict(Section):
    """When it counts as forgotten."""
    require: Literal['outputs', 'members', 'weights'] = needed('the level to be reached')
    metric: Text = option('one of metrics, that forgetting is judged by', 'psnr')
    skill_margin: NotNegative | None = option('how much better than its input the original has to be')
    over_forgotten: OverForgotten = needed('when forgetting is damage')
    levels: Levels = needed('the limits of each level')


class OfAudit(Section):
    role: Literal['forget', 'unseen', 'retain', 'attacker'] = option(
        'of training images; of others; of another degradation; or what attackers alone learn from')


class AuditFile(Section):
    """An option file of the audit."""
    plugin: Plugin = option('the package that registers the components, or a list of packages')
    name: Text = needed('of the audit: results go to results/audit/NAME')
    scale: Count = option('clean size over degraded size', 1)
    num_gpu: Literal['auto'] | FromZero = needed('auto: all there are; 0: the processor')
    network_g: one('network') = needed('the architecture of the checkpoints')
    param_key_g: Text | None = option('params_ema for the averaged weights of files that have both')
    networks: Networks = needed('the checkpoints')
    datasets: dict[str, one('data set', OfAudit)] = needed('what is measured on, by name')
    tile: Count | None = option('side of the parts in pixels in which images are restored; ~: whole images')
    tile_overlap: FromZero = option('of neighbouring parts, in pixels')
    metrics: dict[str, one('metric', OfMetric)] = needed('by name; psnr must be there')
    measure: Measure | None = option('what is measured, beside the scores')
    verdict: Verdict = needed('when it counts as forgotten')
