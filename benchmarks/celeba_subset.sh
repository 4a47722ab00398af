#!/usr/bin/env bash
# The five models of Larsen et al. 2016 on a CelebA subset: 32 px, quarter width, three seeds, 100,000 images each.
#
#   GENBENCH_DATA=../shared/data GENBENCH_WEIGHTS=../shared/weights benchmarks/celeba_subset.sh [JOBS] [RUNS]
#
# Runs are made JOBS at a time (2), a thread each, into the folder RUNS (./runs), then scored; both go on where they were
# when called again. vae-dis-l spends half of its budget on its discriminator, so it is given twice as much.
set -euo pipefail
jobs=${1:-2}
export GENBENCH_RUNS=${2:-runs}

for seed in 0 1 2; do
    for model in vaegan vaegan-pixel vae-dis-l gan vae; do
        images=100000
        [ "$model" = vae-dis-l ] && images=200000
        echo "run $model celeba --seed $seed --size 32 --width 0.25 --threads 1 --images $images --evaluators none"
    done
done | xargs -P "$jobs" -L 1 genbench

squeezenet=torchvision:squeezenet1_0
genbench evaluate --evaluators attributes,fd,fid,mse,psnr,ssim,ms-ssim,health
# The test split has 828 images, so more samples would tell little more; subsets of KID must be fewer.
genbench evaluate --samples 2000 -s evaluation.kid.subset_size=500 \
    --evaluators "fd:$squeezenet,kid:$squeezenet,precision-recall:$squeezenet,density-coverage:$squeezenet"
genbench compare
