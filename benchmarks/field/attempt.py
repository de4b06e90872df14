"""Try cases while writing them: whether each variant fails or works as it should. No rule of ``diagnose`` is asked.

python benchmarks/field/attempt.py tables                    # every case of programs/tables.py
python benchmarks/field/attempt.py tables.bytes_into_tanh    # one
"""

import importlib
import sys
import time
import warnings
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

from case import CASES, HEALTHY, Setup, trained

SEEDS = (0, 1)


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    wanted = sys.argv[1]
    importlib.import_module(f"programs.{wanted.partition('.')[0]}")
    fine = True
    for name, case in CASES.items():
        if name != wanted and case.program != wanted:
            continue
        for variant in case.variants:
            for seed in SEEDS:
                begun = time.process_time()
                score = trained(case, variant, Setup(seed=seed))
                right = (score >= case.passes) == (variant == "fixed")
                fine &= right
                print(
                    f"{'ok ' if right else 'NOT'} {name:40} {case.kind if case.kind != HEALTHY else 'works':24}"
                    f"{variant:8} seed {seed}: score {score:8.3f}, works from {case.passes}, "
                    f"{time.process_time() - begun:.1f} s",
                    flush=True,
                )
    sys.exit(not fine)


if __name__ == "__main__":
    main()
