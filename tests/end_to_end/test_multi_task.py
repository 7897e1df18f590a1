"""Age and sex by one net, and the same net with the age alone."""

import csv
import json

import pytest
import tiny_cascade

from boneage_jax import evaluate
from boneage_jax.workflow import run as workflow_run
from configs import multi_task

pytestmark = pytest.mark.ci
FILMS = 48


def settings(variant):
  config = multi_task.get_config(variant).unlock()
  config.phantom.update(films=FILMS, long_side=64)
  config.data.update(validation_fraction=0.25, test_fraction=0.25)
  stage = config.whole_image
  stage.update(batch_size=8, eval_batch_size=8, steps=6, eval_steps=3)
  stage.input.size = 32
  stage.net.backbone = tiny_cascade.BACKBONE
  return config


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  folders = [tmp_path_factory.mktemp(name) for name in ('both', 'alone')]
  both, alone = settings('phantom'), settings('age_alone,phantom')
  alone.stages = alone.stages[:-1]  # a report takes longer than the net
  for folder, config in zip(folders, (both, alone), strict=True):
    workflow_run.run(config, str(folder))
  return folders


def rows(folder):
  with open(folder / 'whole_image/predictions.csv', newline='') as file:
    return list(csv.DictReader(file))


def logged(folder):
  text = (folder / 'whole_image/metrics.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


def test_the_report_says_how_often_the_sex_is_right(runs):
  both, alone = runs
  report = json.loads((both / 'report/report.json').read_text())
  test = [row for row in rows(both) if row['split'] == 'test']
  right = [(float(row['p_male']) > 0.5) == (row['sex'] == 'M') for row in test]
  found = report['extra']['p_male']['test']['accuracy']['all']
  assert (found['n'], found['share']) == (len(test), sum(right) / len(test))
  assert 'p_male' not in rows(alone)[0]
  assert any('train_sex_loss' in row for row in logged(both))


def test_compare_gives_the_effect_on_the_age(runs, tmp_path, capsys):
  out = tmp_path / 'compared.json'
  evaluate.main(['compare', *map(str, runs), f'--out={out}'])
  assert 'net.extra_outputs' in capsys.readouterr().out
  result = json.loads(out.read_text())
  errors = [
    [
      abs(float(row['age_predicted']) - float(row['age_true']))
      for row in rows(folder)
      if row['split'] == 'test'
    ]
    for folder in runs
  ]
  both, alone = (sum(one) / len(one) for one in errors)
  found = result['splits']['test']
  assert found['n'] == len(errors[0])
  assert found['difference'] == pytest.approx(both - alone, abs=1e-3)
