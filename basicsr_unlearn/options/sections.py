"""The sections of an option file of train and test: each option with its type, its limits and a line on it."""
from typing import ClassVar, Literal

from basicsr_unlearn.core.hints import Count, Fraction, NotNegative, Positive, Seed, Share
from basicsr_unlearn.core.rate import DEFAULT_FORGET_STEP
from basicsr_unlearn.core.tiling import DEFAULT_OVERLAP
from basicsr_unlearn.options.components import OfBasicSRsRate, OfMetric, OfRate, OfRetain, loss, one, some
from basicsr_unlearn.options.values import (
    Decay,
    FromZero,
    MinusOneOn,
    Name,
    OpenSection,
    Plugin,
    RunSeed,
    Scale,
    Section,
    Text,
    needed,
    option,
)


class Phase(Section):
    """Terms that are minimised for a while."""
    terms: list[Text] = needed('such as [forget] or [retain, adversarial]')
    iters: Count | None = option('steps; ~ in the last phase: to the end')


class PatchPhase(Section):
    """Smaller patches, or fewer, for a while."""
    iters: Count = needed('steps')
    size: Count = option('side of a patch of the clean image in pixels; left out: gt_size')
    batch: Count = option('samples of each stream; left out: batch_size_per_gpu')


class ProxyOpt(Section):
    """A network of the same architecture that knows nothing of the forget set, for `target: proxy`."""
    iters: FromZero = option('steps of training on the retain stream', 0)
    lr: Positive = option('of this training', 1e-3)
    seed: Seed = option('of its fresh weights; left out: set by manual_seed')
    edit_opt: some('edit') | None = option('start from the original after these edits instead of fresh weights')


class DualOpt(Section):
    """The weight of the retain terms finds itself."""
    retain_budget: NotNegative = option('dB that the retain batches may lose', 0.1)
    step_size: Positive = option('change of the weight per step and dB beyond the budget', 0.5)
    start: NotNegative = option('first weight', 1.0)
    maximum: Positive = option('largest weight', 100.0)


class ConflictOpt(Section):
    """What becomes of a forget gradient that points against the others."""
    project: bool = option('take out of it what points against theirs', True)
    max_ratio: Positive | None = option('largest norm of it against theirs; ~: any')
    mask: bool = option('let it move only the weights where it has the sign of the running mean of theirs', False)
    momentum: Decay = option('of this running mean', 0.9)
    norm: Positive | None = option('length to which it is brought before that; ~: as it is')


class StopOpt(Section):
    """When it is enough."""
    forget_psnr: Literal['identity', 'retrained'] | Positive = option(
        'what the forget set falls to: the score of the untouched input, of the retrained network, or dB', 'identity')
    margin: float = option('dB above it that still count as forgotten', 0.0)
    retain_budget: NotNegative | None = option('dB the rest may lose; while it has lost more, forgetting rests')
    check: Literal['train', 'val'] = option('on each batch, or on the val_ sets at each validation', 'train')
    window: Count = option('how many of these are averaged; left out: 10 batches or 1 validation')
    min_iter: FromZero = option('no stop before this step', 0)
    ease: Share = option('share of the rate, to which it falls as the way gets shorter', 1.0)


class SkillOpt(Section):
    """What there is to forget."""
    metric: Text = option('metric of val.metrics that forgetting is judged by; left out: PSNR')
    margin: NotNegative = option("how much better than its input the original has to be, in the metric's unit")
    required: bool = option('refuse a run where there is nothing to forget', False)


class OtherTrain(OpenSection):
    """How any model is trained."""
    total_iter: Count = needed('steps, at most: a stop rule may end the run before')
    warmup_iter: MinusOneOn = option('steps of warm-up; -1: none', -1)
    scheduler: one('scheduler') = needed('how the rate falls')
    ema_decay: Decay = option('of the average of weights; 0: none', 0)


class UnlearnTrain(OtherTrain):
    """How a network unlearns."""
    model_config = Section.model_config
    method: Text = option('a preset, which stands for some of the options below; they override it')
    optim_g: one('optimizer', OfRate) = needed('the optimizer')
    forget_step: Fraction = option('with lr: auto, share of the way to the input that a step goes', DEFAULT_FORGET_STEP)
    forget_opt: loss('forget') | None = option('the loss on the forget stream')
    retain_opt: loss('retain', OfRetain) | None = option('the loss on the retain stream')
    adversarial_opt: loss('adversarial') | None = option('the loss on inputs moved to where it is worst')
    anchor_opt: some('anchor') | None = option('terms in the space of weights')
    mask_opt: some('mask') | None = option('which weights may move; of several, where all agree')
    edit_opt: some('edit') | None = option('changes of the weights before the first step, one after another')
    evidence_batches: Count = option('batches of each stream that edits, masks and anchors look at', 16)
    proxy_opt: ProxyOpt | None = option('a network for `target: proxy`')
    phases: list[Phase] | None = option('terms that take turns')
    dual_opt: DualOpt | None = option('weighs the retain terms by what the retain batches lose')
    conflict_opt: ConflictOpt | None = option('reconciles the forget gradient with the others')
    stop_opt: StopOpt | None = option('when it is enough; ~: total_iter ends the run')
    skill_opt: SkillOpt | None = option('what there is to forget')
    grad_clip: Positive | None = option('largest norm of the gradient; ~: any')
    amp: Literal['bf16'] | None = option('precision of the passes')
    channels_last: bool = option('memory format', False)
    patch_schedule: list[PatchPhase] | None = option('smaller patches, or fewer, in the first steps')
    conflict_freq: FromZero = option('log the cosine of the gradients every so many steps; 0: never', 0)
    over_forget_margin: NotNegative = option('warn when so many dB below the reference', 1.0)


class SRTrain(OtherTrain):
    """How BasicSR trains a network."""
    model_config = Section.model_config
    optim_g: one("optimizer of BasicSR's", OfBasicSRsRate) = needed('the optimizer')
    pixel_opt: loss('pixel') | None = option('the loss')
    perceptual_opt: loss('perceptual') | None = option('a loss beside it')


class RestorationTrain(OtherTrain):
    """How a network is trained from scratch, faster."""
    model_config = Section.model_config
    optim_g: one("optimizer of BasicSR's", OfBasicSRsRate) = needed('the optimizer')
    pixel_opt: loss('pixel') = needed('the loss')
    amp: Literal['bf16'] | None = option('precision of the forward passes')
    compile: bool = option('fuse operations with torch.compile', False)
    patch_schedule: list[PatchPhase] | None = option('smaller patches, or fewer, in the first steps')


class AirNetTrain(OtherTrain):
    """How AirNet is trained."""
    model_config = Section.model_config
    optim_g: one("optimizer of BasicSR's", OfBasicSRsRate) = needed('the optimizer')
    pixel_opt: loss('pixel') = needed('the loss of the restoration')
    contrast_opt: loss('contrast') = needed('the loss of the encoder')
    encoder_iter: FromZero = needed('steps in which the encoder learns alone')
    patch_size: Count = needed('of the two patches that are contrasted')


# BasicSR's other models read more than is listed: there, names are not checked
TRAIN: dict[str, type[Section]] = {'UnlearnModel': UnlearnTrain, 'SRModel': SRTrain, 'SwinIRModel': SRTrain,
                                   'RestorationModel': RestorationTrain, 'AirNetModel': AirNetTrain}


class Val(Section):
    """Validation in training, or the test."""
    val_freq: Count = option('steps between validations; must be there in training')
    save_img: bool = needed('keep the images')
    suffix: Name | None = option('of their names; must be there in a test that saves images')
    pbar: bool = option('show a progress bar')
    strips: FromZero = option('images per data set in the before/after strips', 2)
    tile: Count | None = option('side of the parts in pixels in which images are restored; ~: whole images')
    tile_overlap: FromZero = option('of neighbouring parts, in pixels', DEFAULT_OVERLAP)
    metrics: dict[str, one('metric', OfMetric)] | None = option('by the name under which each is shown')


class Wandb(Section):
    """Weights & Biases."""
    project: Text | None = option('~: none')
    resume_id: Text | None = option('of a run to go on with')


class Logger(Section):
    """What is logged and saved, and when."""
    print_freq: Count = needed('steps between lines of the log')
    save_checkpoint_freq: Count = needed('steps between checkpoints')
    use_tb_logger: bool = needed('write curves for TensorBoard')
    wandb: Wandb | None = option('mirror them there')


class Path(Section):
    """Checkpoints."""
    added: ClassVar[tuple[str, ...]] = ('experiments_root', 'results_root', 'models', 'training_states', 'log',
                                        'visualization')
    pretrain_network_g: Text | None = option('the original: any container of weights')
    param_key_g: Text | None = option('params_ema for the averaged weights of a file that has both')
    strict_load_g: bool = option('whether every weight has to fit', True)
    pretrain_network_retrained: Text | None = option('a retrained network, only shown beside the scores')
    pretrain_network_original: Text | None = option('the same of the original, in tests')
    resume_state: Text | None = option('a training state to go on from')
    resume_changed: bool = option('go on with other options than the state was made with', False)
    ignore_resume_networks: list[Text] | None = option('networks that a resume does not replace')


class Run(Section):
    """An option file of train or test."""
    added: ClassVar[tuple[str, ...]] = 'dist', 'rank', 'world_size', 'auto_resume', 'is_train', 'root_path'
    plugin: Plugin = option('the package that registers the components, or a list of packages')
    name: Name = needed('of the run: results go to experiments/NAME or results/NAME')
    model_type: Text = needed('UnlearnModel, or the model that trains or tests a network')
    scale: Scale = option('clean size over degraded size', 1)
    num_gpu: Literal['auto'] | FromZero = needed('auto: all there are; 0: the processor')
    manual_seed: RunSeed | None = option('sets data order, crops, degradations and random starts')
    find_unused_parameters: bool = option('for several processes, where some weights get no gradient')
    dist_params: dict | None = option('backend and port for several processes')
    datasets: dict[str, one('data set')] = needed('train, val_<name> in training; test_<name> in a test')
    network_g: one('network') = needed('the architecture of the checkpoint')
    path: Path = needed('checkpoints')
    train: dict | None = option('how it learns; must be there in training')
    val: Val | None = option('validation')
    logger: Logger | None = option('must be there in training')

