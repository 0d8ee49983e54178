"""What each data set of an audit can be judged by: whether there is a skill to forget, and which networks lack it."""
import numpy as np

from basicsr_unlearn.core.judgement import false_references, has_skill
from basicsr_unlearn.proof.audit.context import IDENTITY, Context
from basicsr_unlearn.proof.audit.scoring import by_photograph


def by_network(context: Context, name: str, columns: list[str]) -> dict[str, np.ndarray]:
    """Column -> the verdict's metric of every photograph of a data set."""
    photographs = context.contents(name).photographs
    return {column: by_photograph(context.inference(column, name)['metrics'][context.audit.metric], photographs)
            for column in columns}


def means(context: Context, name: str) -> dict[str, float]:
    """Column -> mean of the verdict's metric, as `proof.judgement` takes it."""
    return {column: float(values.mean())
            for column, values in by_network(context, name, [IDENTITY, *context.columns_on(name)]).items()}


def nothing_to_forget(context: Context, name: str) -> str | None:
    """Why forgetting cannot be judged on a data set, as a clause; None if it can."""
    yardstick, scores = context.audit.yardstick, means(context, name)
    if has_skill(scores['original'], scores[IDENTITY], yardstick):
        return None
    margin = f' by {yardstick.shown(yardstick.skill_margin)}' if yardstick.skill_margin else ''
    original, identity = (yardstick.shown(scores[column]) for column in ('original', IDENTITY))
    return (f'by {yardstick.name} there is nothing to forget: the original has {original} on {name}, the untouched '
            f'input {identity}, and it would have to be better{margin}')


def no_references(context: Context, name: str) -> list[str]:
    """The retrained networks that restore a forget set about as well as the original."""
    if nothing_to_forget(context, name):
        return []
    return false_references(means(context, name), context.audit.yardstick)


def references(context: Context, name: str) -> list[str]:
    """The retrained networks that forgetting can be held against on a forget set."""
    wrong = no_references(context, name)
    return [column for column in context.audit.retrained if column not in wrong]
