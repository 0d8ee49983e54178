"""How a network was unlearned, as the record of its run says: what an attacker who knows the method undoes."""
import json
from pathlib import Path

from basicsr_unlearn.core.building import build_parts
from basicsr_unlearn.core.parts import ANCHORS, EDITS, MASKS, Invertible
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.proof.run_cost import RUN_FILE

TABLES = {'edit_opt': EDITS, 'mask_opt': MASKS, 'anchor_opt': ANCHORS}


def record_of(named: str | None, network: str) -> Path:
    """The run.json that an option names, also by a log beside it; without one, that of the folder of the network."""
    path = Path(named) if named else Path(network).resolve().parent.parent / RUN_FILE
    return path if path.suffix == '.json' else path.parent / RUN_FILE


def run_method(path: Path, digest: str) -> dict | None:
    """The `seed` and the `parts`, blocks by the name of their option, of the run that wrote a network.

    Args:
        path: of its run.json.
        digest: SHA-256 of the network's file.

    Returns:
        None if there is no whole record, of an earlier version, or of another network.
    """
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
        found, written = {'seed': record['seed'], 'parts': record['parts']}, record['networks']['unlearned']['sha256']
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    whole = isinstance(found['seed'], int) and isinstance(found['parts'], dict)
    return found if whole and written == digest else None


def parts_of(method: dict) -> list[Invertible]:
    """The edits, masks and anchors of a run, built as it had them. Raises OptionError for one that is not there."""
    unknown = sorted(set(method['parts']) - set(TABLES))
    if unknown:
        raise OptionError(f'The record of the run has parts of a kind that is not known, {unknown[0]}: update '
                          'basicsr_unlearn.')
    return [part for key, block in method['parts'].items() for part in build_parts(TABLES[key], block, f'train.{key}')]
