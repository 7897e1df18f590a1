"""A DICOM node: films in, reports and pictures out.

Films wait in a folder on the disk, see `folder`, so that a node that is killed
loses none. `receive` takes films in, `answer` predicts them in a process of
its own, `send` sends what came of them, and `node` runs these three.
"""
