"""Fields of every system: what it is called, and the films that it reads.

Those of stages stand in common.py.
"""

from ml_collections import ConfigDict

# Columns of a user's table of films; all but the first three may be missing.
COLUMNS = (
  *('file', 'sex', 'age_true', 'id', 'group', 'split', 'chronological_age'),
)


def base(name: str, variant: str) -> ConfigDict:
  """Fields of every system, before its stages."""
  return ConfigDict(
    dict(
      name=name,
      variant=variant,  # all that follows the colon of --config=FILE:...
      seed=0,
      imports=(),  # modules of your own, which add to what can be named here
      stages=(),  # run in this order; each is a section below
      # A stage that goes on from this one, with `rate` times its learning rate.
      longer=dict(stage='', epochs=10, rate=0.5),
      manual_dir='',  # folder of the archive; '' makes phantoms, or see data
      data_dir='',  # where prepared data go; '' is <workdir>/data
      data=dict(
        # Whose films these are, in reports; '' is the RSNA's where ids and
        # counts are those of its release, and else the folder's name.
        name='',
        # Or a table of films, in the place of the folder of an archive.
        table='',
        # Names of its columns.
        columns={name: name for name in COLUMNS},
        two_hands='',  # side kept of its films wider than high: 'left', 'right'
        age_unit='months',  # of ages in label files and tables; or 'years'
        # 'official' validation and test films of the challenge; 'hash': all by
        # film id alone; 'auto': the archive's own validation and test films,
        # by id what it lacks; 'chen500': 500 and 500 of the training films
        # (Chen 2020).
        split='auto',
        validation_fraction=0.10,
        test_fraction=0.15,
        # Folds of the films not for test, by id; main runs all of them in turn,
        # or that one alone. 0 folds: one run, on the split above.
        folds=0,
        fold=-1,
        crop_borders=False,  # of one grey, off all films before all else
        allow_bad_films=0,  # unreadable films to go on without
        max_megapixels=64.0,  # of one film; larger ones are bad
        max_megabytes=512.0,  # of one film's file, and of what it inflates to
        classes=(),  # findings to tell apart, instead of ages; others ignored
        labelled_per_class=0,  # training films kept of each class; 0 is all
      ),
      phantom=dict(
        films=0,
        seed=0,
        long_side=512,
        label_noise_sd=0.0,  # months
        inverted=0.0,  # share of MONOCHROME1 films
        fractures=0.0,  # share of hands with a broken bone
        views=1,  # films of each hand at one visit
        visits=1,  # of each hand, 3 to 12 months apart
        turn=0.0,  # degrees, most that hands are turned either way
        shift=0.0,  # share of the sides, most that they are moved either way
        # Months, sd of how far bone ages are ahead of chronological ages; 0:
        # these are not known.
        chronological_sd=0.0,
      ),
      prepare=dict(job='prepare'),
    )
  )
