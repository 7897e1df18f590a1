"""PyTorch's nets, channels last: torchvision's, and timm's Xception."""

import jax
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks import nets


def _torchvision_models():
  """Import torchvision, also beside a torch that its operators do not fit.

  The nets use none of the compiled operators, but the import registers
  gradients for two and fails without them.
  """
  try:
    from torchvision import models
  except RuntimeError:
    library = torch.library.Library('torchvision', 'FRAGMENT')
    library.define('nms(Tensor a, Tensor b, float c) -> Tensor')
    library.define('qnms(Tensor a, Tensor b, float c) -> Tensor')
    _torchvision_models.library = library  # or it is unregistered
    from torchvision import models
  return models


def backbone(name: str) -> nn.Module:
  """Return image [B, 3, H, W] to map [B, 2048, h, w], random weights."""
  models = _torchvision_models()
  if name == 'xception':
    import timm

    return timm.create_model('legacy_xception', num_classes=0, global_pool='')
  if name == 'resnet50':
    layers = list(models.resnet50(weights=None).children())[:-2]
  else:
    net = models.inception_v3(
      weights=None, aux_logits=False, init_weights=False
    )
    layers = list(net.children())[:-3]
  return nn.Sequential(*layers)


class AgeNet(nn.Module):
  """One or two backbones, pooled, with sex, to 240 logits."""

  def __init__(self, name: str):
    super().__init__()
    two = name == 'two_stream'
    names = ('xception', 'resnet50') if two else (name,)
    self.backbones = nn.ModuleList(map(backbone, names))
    self.convolutions = nn.ModuleList(
      nn.Conv2d(2048, 256, 3, bias=False) for _ in names if two
    )
    self.sex = nn.Linear(1, 32)
    self.fc = nn.LazyLinear(240)

  def forward(self, images: list[torch.Tensor], sex: torch.Tensor):
    maps = [f(x) for f, x in zip(self.backbones, images, strict=True)]
    if self.convolutions:
      pairs = zip(self.convolutions, maps, strict=True)
      z = [F.max_pool2d(f(x), 3, 3).flatten(1) for f, x in pairs]
    else:
      z = [x.mean((2, 3)) for x in maps]
    return self.fc(torch.cat([*z, self.sex(sex[:, None])], 1))


def loss(logits: torch.Tensor, age: torch.Tensor) -> torch.Tensor:
  """Compute age.label_distribution, delta 10 and KL weight 1."""
  months = torch.arange(240, device=logits.device, dtype=torch.float32)
  label = F.log_softmax(-0.5 * ((months - age[:, None]) / 10) ** 2, -1)
  log_p = F.log_softmax(logits.float(), -1)
  error = (age - (log_p.exp() * months).sum(-1)).abs()
  kl = (label.exp() * (label - log_p)).sum(-1)
  return (error + kl).mean()


class Net:
  """A net with a batch; compiled by torch.compile on a GPU only."""

  def __init__(self, name: str, batch: dict[str, np.ndarray], dtype: str):
    self.device = 'cuda' if torch.cuda.is_available() else 'cpu'
    if jax.default_backend() == 'gpu' and self.device == 'cpu':
      raise RuntimeError('this PyTorch sees no GPU, JAX does')
    torch.set_float32_matmul_precision('high')
    net, images = AgeNet(name), map(torch.from_numpy, nets.images(batch))
    self.images = [x.permute(0, 3, 1, 2) for x in images]
    self.sexes, self.age = map(torch.from_numpy, (batch['sex'], batch['age']))
    with torch.no_grad():
      net(self.images, self.sexes)  # LazyLinear learns its width
    place = {'device': self.device, 'memory_format': torch.channels_last}
    net = net.to(**place)
    self.images = [x.to(**place) for x in self.images]
    self.sexes = self.sexes.to(self.device)
    self.age = self.age.to(self.device)
    self.mixed = torch.autocast(
      self.device, torch.bfloat16, enabled=dtype == 'bfloat16'
    )
    self.optimizer = torch.optim.Adam(net.parameters(), 3e-4)
    self.net = torch.compile(net) if self.device == 'cuda' else net

  def train(self) -> None:
    """Run one step: forward, backward, Adam."""
    self.net.train()
    self.optimizer.zero_grad()
    with self.mixed:
      logits = self.net(self.images, self.sexes)
    loss(logits, self.age).backward()
    self.optimizer.step()
    self._wait()

  def predict(self) -> None:
    """Run inference to the probabilities of the bins."""
    self.net.eval()
    with torch.inference_mode(), self.mixed:
      self.net(self.images, self.sexes).float().softmax(-1)
    self._wait()

  def _wait(self) -> None:
    if self.device == 'cuda':
      torch.cuda.synchronize()
