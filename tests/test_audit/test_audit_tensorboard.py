"""An audit in TensorBoard, read back from its event files."""
import cv2
import numpy as np
import pytest
from audit_example import LAYERS, LEARNED, PSNR, STEPS, example_audit
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from basicsr_unlearn.metrics.evaluation import Strip
from basicsr_unlearn.report.audit_tensorboard import write_tensorboard
from basicsr_unlearn.report.audit_text import audit_markdown


def events(folder) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={'scalars': 0, 'images': 0, 'histograms': 0, 'tensors': 0})
    found.Reload()
    return found


def scalars(folder, tag: str) -> dict[int, float]:
    return {point.step: point.value for point in events(folder).Scalars(tag)}


def text_of(folder, tag: str) -> str:
    tensor, = events(folder).Tensors(f'{tag}/text_summary')
    return tensor.tensor_proto.string_val[0].decode()


@pytest.fixture
def strips() -> dict[str, list[Strip]]:
    """One strip of three 8x6 pictures, red, green and blue."""
    images = {column: np.full((8, 6, 3), np.eye(3, dtype=np.uint8)[i] * 255)
              for i, column in enumerate(('identity', 'unlearned', 'gt'))}
    return {'haze': [Strip('31009', images, {})]}


def test_strengths_under_attack_share_a_tag_in_a_run_for_each_network(tmp_path):
    write_tensorboard(tmp_path, example_audit(2), {})
    plain = LEARNED['plain, Adam 0.0005', 'plain', 8]  # of these two networks the best attacker at every step
    for run, column in (('original', 'original'), ('retrained_1', 'retrained')):
        assert scalars(tmp_path / run, 'attacks/8_pairs') == pytest.approx(dict(zip(STEPS, plain[column])))
    assert scalars(tmp_path / 'unlearned', 'attacks/8_pairs')[5] == pytest.approx(17.3)  # by another one
    assert scalars(tmp_path / 'unlearned', 'attacks/2_pairs')[5] == pytest.approx(13.8)
    assert 'attacks/8_pairs' not in events(tmp_path / 'identity').Tags()['scalars']


def test_scores_of_every_network_and_data_set(tmp_path):
    audit = example_audit()
    write_tensorboard(tmp_path, audit, {})
    for column in ('identity', 'original', 'unlearned', 'retrained'):
        for name, means in PSNR.items():
            assert scalars(tmp_path / column, f'scores/{name}/psnr') == pytest.approx({0: means[column]}, abs=1e-3)
    histogram, = events(tmp_path / 'unlearned').Histograms('images/haze/psnr')
    values = audit['measurements']['scores']['result']['per_image']['haze']['unlearned']['psnr']
    assert histogram.histogram_value.num == 12
    assert histogram.histogram_value.min == pytest.approx(min(values))
    assert histogram.histogram_value.sum == pytest.approx(sum(values))


def test_what_else_was_measured(tmp_path):
    write_tensorboard(tmp_path, example_audit(), {})
    assert scalars(tmp_path / 'original', 'membership/threshold') == pytest.approx({0: 0.76})
    assert scalars(tmp_path / 'unlearned', 'membership/threshold') == pytest.approx({0: 0.52})
    assert scalars(tmp_path / 'unlearned', 'robustness/rain/attacked') == pytest.approx({0: 19.1})
    gain = scalars(tmp_path / 'unlearned', 'representation/gain')
    assert list(gain) == list(range(len(LAYERS))) and gain[7] == pytest.approx(4.1)
    assert 0 not in scalars(tmp_path, 'cka/original_to_unlearned')  # is undefined in the first layer
    assert scalars(tmp_path, 'cka/original_to_unlearned')[1] == pytest.approx(0.97)


def test_verdict_checks_and_the_report_as_texts(tmp_path):
    audit = example_audit()
    write_tensorboard(tmp_path, audit, {})
    assert audit['verdict']['headline'] in text_of(tmp_path, 'verdict')
    weights = text_of(tmp_path, 'checks/weights')
    assert weights.startswith('failed') and '+4.70 dB' in weights and 'at most 0.50 dB' in weights
    assert text_of(tmp_path, 'audit') == audit_markdown(audit)


def test_strips_are_pictures_side_by_side(tmp_path, strips):
    write_tensorboard(tmp_path, example_audit(), strips)
    image, = events(tmp_path).Images('strips/haze/31009')
    pixels = cv2.imdecode(np.frombuffer(image.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    third = pixels.shape[1] // 3  # enlarged, on white, with names above
    assert pixels[-1, [third // 2, third * 3 // 2, third * 5 // 2]].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_a_second_audit_takes_the_place_of_the_first(tmp_path, strips):
    mine = tmp_path / 'another_run'
    for folder in (tmp_path, mine):
        folder.mkdir(exist_ok=True)
    (mine / 'events.out.tfevents.1').write_text('of something else')
    (tmp_path / 'notes.txt').write_text('mine')
    write_tensorboard(tmp_path, example_audit(2), strips)
    second = example_audit()
    second['measurements']['attacks']['result']['strength']['unlearned'] = {
        '8': {'0': {'value': 1.0, 'attacker': 'a'}, '7': {'value': 2.0, 'attacker': 'a'}}}
    write_tensorboard(tmp_path, second, {})
    assert scalars(tmp_path / 'unlearned', 'attacks/8_pairs') == {0: 1.0, 7: 2.0}
    assert events(tmp_path).Tags()['images'] == []
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [
        'another_run', 'identity', 'original', 'retrained', 'unlearned']
    assert (mine / 'events.out.tfevents.1').is_file() and (tmp_path / 'notes.txt').is_file()
    assert len(list((tmp_path / 'unlearned').iterdir())) == 1


@pytest.mark.parametrize('retrained', [0, 2])
def test_any_measurement_may_be_skipped_or_absent(tmp_path, retrained):
    whole = example_audit(retrained)
    for name in list(whole['measurements']):
        audit = example_audit(retrained)
        audit['measurements'][name] = {'state': 'skipped', 'reason': 'no', 'seconds': 0, 'result': None}
        write_tensorboard(tmp_path, audit, {})
        tags = events(tmp_path / 'unlearned').Tags()['scalars']
        assert not [tag for tag in tags if tag.startswith(f'{name}/')]
        assert ('attacks/8_pairs' in tags) == (name != 'attacks')
        del audit['measurements'][name]
        write_tensorboard(tmp_path, audit, {})
        assert events(tmp_path / 'unlearned').Tags()['scalars'] == tags
