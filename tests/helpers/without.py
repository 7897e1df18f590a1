"""Packages that some commands do without."""

# They have no wheels for Windows, where films can be predicted all the same.
NOT_TO_PREDICT = {'grain', 'array_record', 'tensorflow_datasets'}
