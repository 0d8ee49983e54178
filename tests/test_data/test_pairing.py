"""Pairing rules and name lists, on names alone."""
import unicodedata

import pytest

from basicsr_unlearn.data.pairing import filter_names, pair_names, pairs_from_list, read_name_list
from basicsr_unlearn.errors import DataError, OptionError


def test_same_name_in_the_order_of_the_degraded_images():
    assert pair_names(['a', 'b'], ['b', 'a']) == [('a', 'a'), ('b', 'b')]


@pytest.mark.parametrize('lq, gt, alone', [(['a', 'b'], ['a'], 'b'), (['a'], ['a', 'z'], 'z')])
def test_an_image_without_partner_is_named(lq, gt, alone):
    with pytest.raises(DataError, match=f'^{alone} has no partner'):
        pair_names(lq, gt)


def test_templates_of_rain100():
    lq, gt = ['rain-001', 'rain-002'], ['norain-002', 'norain-001']
    assert pair_names(lq, gt, lq_tmpl='rain-{}', gt_tmpl='norain-{}') == [('rain-001', 'norain-001'),
                                                                          ('rain-002', 'norain-002')]


def test_template_errors():
    with pytest.raises(DataError, match="snow-1 in rain folder does not follow the name template 'rain-{}'"):
        pair_names(['snow-1'], ['1'], lq_tmpl='rain-{}', lq_root='rain folder')
    with pytest.raises(OptionError, match='exactly once'):
        pair_names(['a'], ['a'], lq_tmpl='rain')


def test_prefix_takes_the_longest_clean_name_and_copes_with_dots():
    lq = ['0025_0.8_0.1', '0025_1_0.2', '1400_10', '1400_1', 'x_y_3']
    assert pair_names(lq, ['0025', '1400', 'x', 'x_y'], 'prefix') == [
        ('0025_0.8_0.1', '0025'), ('0025_1_0.2', '0025'), ('1400_10', '1400'), ('1400_1', '1400'), ('x_y_3', 'x_y')]


def test_prefix_ends_at_an_underscore():
    with pytest.raises(DataError, match='14001_1 in hazy has no clean image in clear'):
        pair_names(['14001_1'], ['1400'], 'prefix', lq_root='hazy', gt_root='clear')


def test_an_unknown_rule_is_refused():
    with pytest.raises(OptionError, match="pairing is 'fuzzy': use same_name"):
        pair_names(['a'], ['a'], 'fuzzy')


def test_pair_list_with_spaces_dots_commas_and_letters_of_any_script(tmp_path):
    path = tmp_path / 'pairs.txt'
    path.write_text('# degraded, clean\n\nmit Nebel ä.png, klar ä.png\n0025_0.8_0.1\t0025.jpg\nsub/雨.png,晴\n'
                    'a,b.png\tc,d.png\n', encoding='utf-8')
    pairs = pairs_from_list(str(path), ['mit Nebel ä', '0025_0.8_0.1', '雨', 'a,b'], ['klar ä', '0025', '晴', 'c,d'],
                            'lq', 'gt')
    assert pairs == [('mit Nebel ä', 'klar ä'), ('0025_0.8_0.1', '0025'), ('雨', '晴'), ('a,b', 'c,d')]


def test_pair_list_errors(tmp_path):
    path = tmp_path / 'pairs.txt'
    path.write_text('a b\n')
    with pytest.raises(DataError, match='Entry 1 of .*pairs.txt is no pair'):
        pairs_from_list(str(path), ['a'], ['b'], 'lq', 'gt')
    path.write_text('a, gone.png\n')
    with pytest.raises(DataError, match='gt has no image named gone.png'):
        pairs_from_list(str(path), ['a'], ['b'], 'lq', 'gt')
    with pytest.raises(DataError, match='does not exist'):
        pairs_from_list(str(tmp_path / 'none.txt'), ['a'], ['b'], 'lq', 'gt')


def test_a_list_in_another_encoding_is_refused_and_a_byte_order_mark_is_not_part_of_a_name(tmp_path):
    path = tmp_path / 'names.txt'
    path.write_bytes('straße'.encode('latin-1'))
    with pytest.raises(DataError, match='UTF-8'):
        read_name_list(str(path))
    path.write_bytes('straße\r\nweg'.encode('utf-8-sig'))
    assert read_name_list(str(path)) == ['straße', 'weg']
    path.write_text('# nothing\n\n')
    with pytest.raises(DataError, match='is empty'):
        read_name_list(str(path))


def test_names_are_compared_whichever_way_the_accent_is_stored():
    assert read_name_list([unicodedata.normalize('NFD', 'café')]) == [unicodedata.normalize('NFC', 'café')]


def test_a_number_in_a_name_list_is_refused_as_yaml_has_changed_it():
    with pytest.raises(OptionError, match="holds '14007'.*quotes"):
        read_name_list([1400_7])


def test_only_and_except_are_disjoint_and_complete():
    names, chosen = ['a', 'b.5', 'c'], ['b.5', 'c.png']
    only, rest = filter_names(names, chosen, None, 'x'), filter_names(names, None, chosen, 'x')
    assert only == ['b.5', 'c'] and rest == ['a']


def test_a_listed_name_with_a_dot_is_not_cut_at_it():
    with pytest.raises(DataError, match='no image named 0025_0.8'):
        filter_names(['0025_0', '0025_1'], ['0025_0.8'], None, 'hazy')


def test_filter_errors():
    with pytest.raises(OptionError, match='not both'):
        filter_names(['a'], ['a'], ['a'], 'x')
    with pytest.raises(DataError, match='except_files leaves no image of x'):
        filter_names(['a'], None, ['a'], 'x')
    with pytest.raises(DataError, match='only_files names no image of x'):
        filter_names(['a'], [], None, 'x')
