"""Several training processes as ``torchrun`` starts them: local steps, weights averaged now and then.

Local SGD (arXiv:1805.09767). On processors shared with other work it beats threads and gradient
exchange, which make every operation or step wait for the slower core. A process that was not
started by ``torchrun`` is alone, and every function here is then free.
"""

import os

import torch
from torch import nn

# Steps between two averagings: rare enough to cost nothing, close enough for the replicas to stay together.
AVERAGE_EVERY = 20


def join() -> None:
    """Join the other processes when ``torchrun`` started this one (``WORLD_SIZE`` above 1)."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")


def replicas() -> int:
    """Return how many processes train together."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def replica() -> int:
    """Return the number of this process, 0 for the one that validates and writes."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


@torch.no_grad()
def average_weights(network: nn.Module) -> None:
    """Replace weights and running statistics by their mean over all processes."""
    if replicas() == 1:
        return
    values = [value for value in network.state_dict().values() if value.dtype.is_floating_point]
    flat = torch.cat([value.reshape(-1).cpu() for value in values])
    torch.distributed.all_reduce(flat)
    flat /= replicas()
    for value, mean in zip(values, flat.split([value.numel() for value in values]), strict=True):
        value.copy_(mean.view(value.shape))


def from_first(value: float) -> float:
    """Return the first process's ``value`` in every process."""
    if replicas() == 1:
        return value
    shared = torch.tensor([value], dtype=torch.float64)
    torch.distributed.broadcast(shared, src=0)
    return float(shared)
