#!/bin/bash
# Makes a model from nothing as the shipped one is made: scenes, training, export in floats and in 8 bits. Resumes.
# usage: scripts/model.sh FOLDER FRAMES MINUTES [options of instance-seg train]
# On a GPU, training begins with the first eighth of the scenes, while the CPU's cores make the others.
set -euo pipefail
folder=$1 frames=$2 minutes=$3
shift 3
store=$folder/scenes checkpoint=$folder/run/checkpoint.pt model=$folder/tabletop_rgbd
mkdir -p "$folder"

make_scenes() {
    nice -n 10 instance-seg synth --out "$store" --frames "$frames" --seed 2 --color --without-families teapot,toy_brick
}

some_are_made() {
    python - "$store" "$((frames / 8))" <<'END'
import sys

from instance_seg_ros.learning.synthetic.store import open_store

try:
    sys.exit(len(open_store(sys.argv[1], allow_partial=True)) < int(sys.argv[2]))
except (FileNotFoundError, ValueError) as error:
    sys.exit(f"waiting for scenes: {error}")
END
}

if python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    set -m  # a process group of its own, so that all of its workers end with this script
    make_scenes </dev/null &
    scenes=$!
    set +m
    trap 'kill -- "-$scenes" 2>/dev/null || true' EXIT
    until some_are_made; do
        if ! kill -0 "$scenes" 2>/dev/null; then
            wait "$scenes"
            break
        fi
        sleep 5
    done
    instance-seg train --store "$store" --allow-partial --out "$folder/run" --minutes "$minutes" --batch-size 64 \
        --learning-rate 3e-3 --warmup-steps 300 --average-decay 0.999 --weight-decay 0.05 "$@"
    wait "$scenes"
    trap - EXIT
else
    make_scenes
    instance-seg train --store "$store" --out "$folder/run" --minutes "$minutes" --batch-size 8 --learning-rate 1.5e-3 "$@"
fi
instance-seg export --checkpoint "$checkpoint" --out "$model.onnx" --score-threshold 0.42
instance-seg export --model "$model.onnx" --int8 "$store" --out "${model}_int8.onnx"
