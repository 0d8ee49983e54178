"""The sections of an audit's option file."""
from typing import Annotated, Literal

from annotated_types import MinLen

from basicsr_unlearn.core.attacks import AttackOptions
from basicsr_unlearn.core.hints import Count, NotNegative, Positive
from basicsr_unlearn.options.components import OfMetric, one
from basicsr_unlearn.options.signatures import plain
from basicsr_unlearn.options.values import FromZero, Plugin, Section, Text, needed, option

Few = Count | None
Steps = Annotated[list[Count], MinLen(1)]


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


class Learning(Section):
    """Learning the skill again."""
    train: Text = needed('data set that is learned from')
    test: Text = needed('data set that is scored')
    images: Few = option('of the test set; ~: all')
    pairs: Count = option('that are learned from')
    steps: Steps = needed('at which is scored, each larger than the one before')
    lr: Positive = needed('of the attacker')
    patch: Count = needed('in pixels')


class Relearning(Learning):
    """Learning the skill again, by plain training."""
    seeds: Annotated[list[FromZero], MinLen(1)] = needed('of the draws, each larger than the one before')


class Recovery(Learning):
    """Learning the skill again by a small part alone: a prompt on the input, the prompts, the last layer."""
    ways: list[Literal['input', 'prompts', 'last_layer']] = needed('the only part that the attackers train')


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
    relearning: Relearning | None = option('how soon the skill is learned again')
    recovery: Recovery | None = option('the same, where only a small part is trained')
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
    relearn_gap: NotNegative = option('lead when the skill is learned again')
    recovery_gap: NotNegative = option('the same, where only a small part is trained')


class Levels(Section):
    """The limits of each level, by what they assure."""
    outputs: Limits = needed("the outputs are a retrained network's")
    members: Limits = needed('training images cannot be told')
    weights: Limits = needed('nobody gets the skill back sooner')


class Verdict(Section):
    """When it counts as forgotten."""
    require: Literal['outputs', 'members', 'weights'] = needed('the level to be reached')
    metric: Text = option('one of metrics, that forgetting is judged by', 'psnr')
    skill_margin: NotNegative | None = option('how much better than its input the original has to be')
    over_forgotten: OverForgotten = needed('when forgetting is damage')
    levels: Levels = needed('the limits of each level')


class OfAudit(Section):
    role: Literal['forget', 'unseen', 'retain'] = option('of training images; of others; or of another degradation')


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
    quick: bool = option('leave out what takes long', False)
