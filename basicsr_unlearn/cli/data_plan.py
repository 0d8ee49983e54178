"""What is forgotten and what is kept, as data sets, found from folders and by trying the network."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basicsr_unlearn.cli.asking import ask
from basicsr_unlearn.cli.network_plan import Note
from basicsr_unlearn.cli.run_flags import Source, keep_sources
from basicsr_unlearn.data.inspection import StoredImage
from basicsr_unlearn.data.known_degradations import KNOWN, steps_of, word_of_folder
from basicsr_unlearn.data.pairing import pairs_from_list
from basicsr_unlearn.data.pairing_detection import find_pairing, find_scale, hold_out, image_size
from basicsr_unlearn.data.sample import ensure_sample
from basicsr_unlearn.data.store import ImageStore
from basicsr_unlearn.engine.trial import Score, Trial
from basicsr_unlearn.errors import DataError, OptionError
from basicsr_unlearn.options.new_file import DataSource


@dataclass(frozen=True)
class Found:
    """A data set as it was found: its source, its images, the clean ones held out, and the degradation if known."""
    source: DataSource
    images: list[StoredImage]
    clean_folder: str
    held_out: list[str]
    kind: str | None


def find_data(source: Source, scale: int, pair_list: str | None, taken: Sequence[str]) -> tuple[Found, str]:
    """A data set from a folder of clean images and a known degradation, or from two folders, and it in words.

    Args:
        source: of two folders the degradation may be given; else it is what the name of a folder says, if any does.
        scale: of the network.
        pair_list: a file of pairs, in place of a rule.
        taken: names of other data sets.

    Raises:
        DataError: a folder is missing or empty, the images do not pair, or the sizes do not agree.
    """
    kind, folders = source
    for folder in folders:
        ensure_sample(folder)
    if len(folders) == 1:
        return _degraded(kind, folders[0], scale, taken)
    lq, gt = (_store(folder) for folder in folders)
    if pair_list is not None:
        options, pairs = {'pair_list': pair_list}, pairs_from_list(pair_list, lq.names, gt.names, *folders)
    else:
        options, pairs = _paired(lq, gt, folders)
    at = find_scale((lq, pairs[0][0]), (gt, pairs[0][1]))
    if at != scale:
        cure = ('pairs of one size are needed' if scale == 1 else f'degraded images of a {scale}th of the size are '
                f'needed, or KIND:{folders[1]} with the clean ones alone')
        raise DataError(f'{folders[0]} and {folders[1]} are at scale {at}, the network is at scale {scale}: {cure}.')
    after = None if kind else word_of_folder(folders[0])
    word = kind or (after and after[0])
    name = _free(word or ('forget' if not taken else Path(folders[0]).name), taken)
    held_lq, held_gt = hold_out(pairs)
    block = {'type': 'PairedRestorationDataset', 'dataroot_lq': folders[0], 'dataroot_gt': folders[1], **options}
    rule = {'prefix': 'many degraded to one clean, '}.get(options.get('pairing'), '')
    source_of_name = f' (after {after[1]})' if after and after[1] != name else ''
    words = (f'{name}{source_of_name}: {len(pairs)} pairs, {rule}such as {pairs[0][0]} -> {pairs[0][1]}; '
             f'{len(held_lq)} held out for the validation')
    if len(gt.names) > len({clean for _, clean in pairs}):
        words += f'; {len(gt.names) - len({clean for _, clean in pairs})} clean images without a partner are left out'
    found = DataSource(name, {**block, 'except_files': held_lq}, {**block, 'only_files': list(held_lq)})
    images = [image for pair in pairs for image in ((lq, pair[0]), (gt, pair[1]))]
    return Found(found, images, folders[1], held_gt, word), words


def _degraded(kind: str, folder: str, scale: int, taken: Sequence[str]) -> tuple[Found, str]:
    store = _store(folder)
    _, held = hold_out([(name, name) for name in store.names])
    train, val = steps_of(kind, scale)
    block, name = {'type': 'DegradedImageDataset', 'dataroot_gt': folder}, _free(kind, taken)
    source = DataSource(name, {**block, 'except_files': held, 'degradations': train},
                        {**block, 'only_files': list(held), 'degradations': val})
    images = [(store, entry) for entry in store.names]
    return Found(source, images, folder, held, kind), (
        f'{name}: made of the {len(images)} clean images of {folder}; {len(held)} held out for the validation')


def _store(folder: str) -> ImageStore:
    try:
        return ImageStore(folder)
    except DataError as error:
        path = Path(folder).expanduser()
        inner = sorted(child.name for child in path.iterdir() if child.is_dir()) if path.is_dir() else []
        more = f' It has the folders {", ".join(inner[:4])}: name one of these.' if inner else ''
        raise DataError(str(error).replace(': correct the dataroot line of the option file', ': correct its path')
                        + more) from error


def _paired(lq: ImageStore, gt: ImageStore, folders: Sequence[str]) -> tuple[dict, list[tuple[str, str]]]:
    found = find_pairing(lq.names, gt.names)
    if found is not None:
        return found
    if len(gt.names) > len(lq.names) and find_pairing(gt.names, lq.names) is not None:
        raise DataError(f'{folders[1]} is paired with {folders[0]}, but not the other way: name the folder of degraded '
                        'images first, then the clean one.')
    alone = sorted(set(lq.names) - set(gt.names))
    raise DataError(f'The {len(lq.names)} images of {folders[0]} and the {len(gt.names)} of {folders[1]} do not pair '
                    f'by their names, for instance {alone[0]}: name each as its partner is named, or list the pairs in '
                    'a file, --pair_list FILE.')


def _free(name: str, taken: Sequence[str]) -> str:
    name = ''.join(letter if letter.isalnum() else '_' for letter in name)
    number, free = 1, name
    while free in taken:
        number += 1
        free = f'{name}_{number}'
    return free


def made_of_clean(kind: str, forget: Found, scale: int, alone: bool = True) -> DataSource:
    """A known degradation of the forget set's clean images.

    Args:
        alone: whether all that is kept is made so; then the retain stream needs no blocks of its own.
    """
    train, val = steps_of(kind, scale)
    block = {'type': 'DegradedImageDataset', 'dataroot_gt': forget.clean_folder}
    return DataSource(kind, {'degradations': train} if alone else
                      {**block, 'except_files': list(forget.held_out), 'degradations': train},
                      {**block, 'only_files': list(forget.held_out), 'degradations': val})


def find_kept(sources: Sequence[Source] | None, forget: Found, trial: Trial, note: Note
              ) -> tuple[list[DataSource], list[Found], bool]:
    """The data sets to keep; those of them with images of their own; and whether the original's outputs are to be kept
    there, rather than the clean images.

    Where none are named that is each known degradation, other than the one to forget, that the network restores.

    Raises:
        OptionError, DataError: see `find_data`; a degradation is named twice; or it is not known what the forget set
            shows, and there is nobody to ask.
    """
    if sources is None:
        return _measured(forget, trial, note)
    return _given(sources, forget, trial.scale, note)


def _given(sources: Sequence[Source], forget: Found, scale: int, note: Note
           ) -> tuple[list[DataSource], list[Found], bool]:
    taken, kept, found = [forget.source.name], [], []
    alone = all(not folders for _, folders in sources)
    for kind, folders in sources:
        if folders:
            one, words = find_data((kind, folders), scale, None, taken)
            found.append(one)
            kept.append(one.source)
        else:
            if kind in (forget.kind, *taken):
                why = 'what is to be forgotten' if kind == forget.kind else 'named twice'
                raise OptionError(f'--keep {kind}: it is {why}.')
            kept.append(made_of_clean(kind, forget, scale, alone))
            words = f'{kind}: made of the clean images of the forget set'
        taken.append(kept[-1].name)
        note('Keep', words)
    return kept, found, scale > 1 or any(kind != 'clean' for kind, _ in sources)


def _measured(forget: Found, trial: Trial, note: Note) -> tuple[list[DataSource], list[Found], bool]:
    scores: dict[str, Score] = {}
    for kind in KNOWN:
        if kind != forget.kind and not (kind == 'clean' and trial.scale == 1):
            scores[kind] = trial.score(made_of_clean(kind, forget, trial.scale).val)
    restored = [kind for kind, score in scores.items() if score.skill]
    if restored and forget.kind is None:
        choices = {','.join(other for other in restored if other != kind) or 'clean': f'if it shows {kind}'
                   for kind in restored} | {','.join(restored): 'if it shows something else'}
        note('Restores', gains({kind: scores[kind] for kind in restored}))
        answer = ask('The names do not say what the forget set shows. Which of these is the network to keep',
                     choices, '--keep')
        return _given(keep_sources([[answer]]), forget, trial.scale, note)
    others = {kind: score for kind, score in scores.items() if kind not in restored}
    if restored:
        note('Keep', f'{gains({kind: scores[kind] for kind in restored})}: what it restores of the clean images '
             'degraded otherwise' + (f'; not {gains(others)}' if others else ''))
        return [made_of_clean(kind, forget, trial.scale) for kind in restored], [], True
    how = 'as they are' if trial.scale == 1 else 'downscaled, held to what the network makes of them now'
    note('Keep', f'clean images, {how}: it restores nothing else that is known here ({gains(others)})')
    return [made_of_clean('clean', forget, trial.scale)], [], trial.scale > 1


def gains(scores: Mapping[str, Score]) -> str:
    """What a network gains over the untouched input: 'rain +6.3 dB, noise +5.0 dB'."""
    return ', '.join(f'{kind} {score.gain}' for kind, score in scores.items())


def shortest_side(founds: Sequence[Found], scale: int) -> int:
    """Of the degraded images, in pixels; the clean ones are `scale` times as large."""
    sides = []
    for found in founds:
        paired = found.source.train['type'] == 'PairedRestorationDataset'
        images: Sequence[Any] = found.images[::2] if paired else found.images
        sides += [min(image_size(image)) // (1 if paired else scale) for image in images]
    return min(sides)
