"""What is said of the attention of a few films and of enough."""

import json
import types

from ml_collections import ConfigDict
import numpy as np
import pytest

from boneage_jax.data import selection
from boneage_jax.training import attention_metrics
from boneage_jax.training import prediction


@pytest.mark.parametrize('count', [9, 10])
def test_few_films_have_no_interval(count, tmp_path, monkeypatch, capsys):
  films = {'id': np.arange(count).astype(str)}
  share = np.linspace(0.2, 0.4, count, dtype=np.float32)
  split = types.SimpleNamespace(
    films=films,
    predict=lambda look, gain: {'inside': share * gain, 'area': share / 2},
  )
  monkeypatch.setattr(selection, 'select_split', lambda films, name: films)
  monkeypatch.setattr(selection, 'stage_source', lambda *args: None)
  monkeypatch.setattr(prediction, 'Split', lambda *args, **kwargs: split)
  monkeypatch.setattr(
    attention_metrics, '_marked', lambda source, kinds: np.full(count, True)
  )
  config = ConfigDict({'net': {'guidance': {'mask': ('wrist_box',)}}})
  (tmp_path / 'net').mkdir()
  add = attention_metrics.measure(config, 'net', str(tmp_path), films, None)
  add('before', 1.0)
  add('after', 2.0)
  result = json.loads((tmp_path / 'net' / 'attention.json').read_text())
  row, change = result['after']['test'], result['change']['test']
  assert row['films'] == change['films'] == count
  assert row['inside'] == pytest.approx(0.6)
  assert change['change'] == pytest.approx(0.3)
  said = capsys.readouterr().out
  if count < 10:
    assert 'inside_ci95' not in row and 'change_ci95' not in change
    assert 'after training, change +30.0%; the masks cover 15.0%' in said
  else:
    for low, high in (row['inside_ci95'], change['change_ci95']):
      assert low < high
    low, high = change['change_ci95']
    assert f'change +30.0% ({low:+.1%} to {high:+.1%}); the masks' in said
