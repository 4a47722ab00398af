#!/usr/bin/env bash
# The five models of Larsen et al. 2016 on a CelebA subset: 32 px, quarter width, three seeds, 100,000 images each.
#
#   GENBENCH_DATA=../shared/data benchmarks/celeba_subset.sh [JOBS] [RUNS]
#
# Runs are made JOBS at a time (2), a thread each, into the folder RUNS (./runs); stopped runs go on when called again.
# vae-dis-l spends half of its budget on its discriminator, so it is given twice as much.
set -euo pipefail
jobs=${1:-2}
export GENBENCH_RUNS=${2:-runs}

for seed in 0 1 2; do
    for model in vaegan vaegan-pixel vae-dis-l gan vae; do
        more="--images 100000"
        [ "$model" = vae-dis-l ] && more="--images 200000 -s similarity.layer=down1"
        echo "run $model celeba --seed $seed --size 32 --width 0.25 --threads 1 $more"
    done
done | xargs -P "$jobs" -L 1 genbench
genbench compare
