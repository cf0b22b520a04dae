#!/usr/bin/env bash
# Sets up what is missing to run the demo or the tests, and nothing else:
#     scripts/setup.sh demo|test
# A sourced ROS 2 (ROS_DISTRO is set) is used; otherwise ROS 2 Jazzy comes from wheels into .venv. Each step leaves a stamp
# with a hash of what it was made from, written last, so an interrupted run is resumed and a finished one costs nothing.
set -euo pipefail

cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
venv=$root/.venv
python=$venv/bin/python
profile=${1:-}
case $profile in demo | test) ;; *) echo "usage: scripts/setup.sh demo|test" >&2; exit 2 ;; esac

# Only one set-up at a time in one checkout; the lock goes with this process.
exec 9<"$root"
flock --nonblock 9 || {
    echo "Another set-up is running here; waiting for it to end."
    flock 9
}

mkdir -p .ros/log
log=$root/.ros/log/setup.log
: >"$log"

fail() {
    printf '\n%s\n' "$*" >&2
    exit 1
}

# step TITLE COMMAND...: one line for a step; its output goes to the log and is shown when it fails. The command runs as a
# condition, where bash does not stop at a failing line: functions given here chain their commands by &&. `since`, where
# it is set, is when the command was begun.
step() {
    local title=$1 start=${since:-$SECONDS}
    shift
    printf '%s ... ' "$title"
    printf '\n==== %s\n' "$title" >>"$log"
    if ! "$@" >"$log.step" 2>&1 </dev/null; then
        cat "$log.step" >>"$log"
        printf 'failed\n'
        tail -n 40 "$log.step" >&2
        fail "Setting up failed at: $title. The whole output is in ${log#"$root"/}."
    fi
    cat "$log.step" >>"$log"
    rm -f "$log.step"
    printf 'done (%s s)\n' $((SECONDS - start))
}

# beside TITLE COMMAND...: starts a command beside the steps that follow; `join` waits for it and is its step.
beside() {
    beside_title=$1 beside_start=$SECONDS
    shift
    "$@" >"$log.beside" 2>&1 </dev/null &
    beside_process=$!
    trap '{ kill "$beside_process" || true; } 2>/dev/null' EXIT
}

join() {
    since=$beside_start step "$beside_title" wait_beside
    trap - EXIT
}

wait_beside() {
    local status=0
    wait "$beside_process" || status=$?
    cat "$log.beside" && rm "$log.beside"
    return "$status"
}

# ---- What the system must have ----

# install_packages WHY PACKAGE...: by apt-get where that is allowed without asking, else say what to type.
install_packages() {
    local why=$1 sudo=() install
    shift
    install="apt-get install -y --no-install-recommends $*"
    command -v apt-get >/dev/null || fail "$why. Please install what Debian calls: $*"
    if ((EUID != 0)); then
        sudo -n true 2>/dev/null || fail "$why. Please type:  sudo $install"
        sudo=(sudo -n)
    fi
    step "installing $*" "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive sh -c "apt-get update && $install"
}

in_range() {
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null
}

is_complete() {
    "$1" -c 'import ensurepip, os, sysconfig, venv
os.stat(os.path.join(sysconfig.get_path("include"), "Python.h"))' 2>/dev/null
}

# find_python: sets base_python to an interpreter with venv, pip and headers, installing what is missing.
find_python() {
    local candidate version
    if [[ $mode == sourced ]]; then
        # The interpreter that this ROS 2 was built for.
        base_python=$(command -v python3) || fail "ROS $ROS_DISTRO is sourced, but there is no python3 on PATH."
        "$base_python" -c 'import rclpy' 2>/dev/null ||
            fail "ROS_DISTRO is $ROS_DISTRO, but $base_python cannot import rclpy. Install ros-$ROS_DISTRO-rclpy and source" \
                "/opt/ros/$ROS_DISTRO/setup.bash, or unset ROS_DISTRO to use ROS 2 from wheels."
        is_complete "$base_python" ||
            install_packages "$base_python has no venv or headers" python3-venv python3-dev
        return
    fi
    for candidate in python3 python3.12 python3.11 python3.13 python3.14 python3.10 /usr/bin/python3; do
        if in_range "$candidate" && is_complete "$candidate"; then
            base_python=$(command -v "$candidate")
            return
        fi
    done
    for candidate in /usr/bin/python3 /usr/bin/python3.{12,11,13,14,10}; do
        if in_range "$candidate"; then
            version=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
            install_packages "Python $version is here without venv or headers" "python$version-venv" "python$version-dev"
            is_complete "$candidate" || fail "$candidate still has no venv or no Python.h after the installation."
            base_python=$candidate
            return
        fi
    done
    install_packages "There is no Python 3.10 to 3.14" python3 python3-venv python3-dev
    in_range /usr/bin/python3 && is_complete /usr/bin/python3 ||
        fail "This system's python3 is not 3.10 to 3.14. Install one of them (deadsnakes, pyenv) so that python3.12 is on PATH."
    base_python=/usr/bin/python3
}

# ---- Stamps ----

# key FILE...: a hash of the contents of these files and of the interpreter's version.
key() {
    cat "$@" | cat - "$venv/pyvenv.cfg" | sha256sum | cut -d' ' -f1
}

is_done() {
    [[ -f $venv/stamps/$1 && $(<"$venv/stamps/$1") == "$2" ]]
}

mark_done() {
    mkdir -p "$venv/stamps"
    printf '%s' "$2" >"$venv/stamps/$1.new"
    mv "$venv/stamps/$1.new" "$venv/stamps/$1"
}

# ---- The steps ----

# venv_works: there is an environment of the right kind, made at this place, whose Python and pip run.
venv_works() {
    local system=false
    [[ $mode == sourced ]] && system=true
    [[ -x $python ]] && in_range "$python" &&
        grep -q "include-system-site-packages = $system" "$venv/pyvenv.cfg" &&
        [[ $(head -n 1 "$venv/bin/pip" 2>/dev/null) == "#!$venv/"* ]]
}

make_venv() {
    local options=(--clear)
    [[ $mode == sourced ]] && options+=(--system-site-packages)
    "$base_python" -m venv "${options[@]}" "$venv"
}

pip_install() {
    local options=()
    # The tests import a part of what is installed: Python keeps the byte code of that part as it is imported.
    [[ $profile == test ]] && options=(--no-compile)
    "$python" -m pip install --disable-pip-version-check --no-input "${options[@]}" "$@"
}

install_requirements() {
    local name=$1 options=()
    shift
    if [[ $name == test ]] && cpu_torch_index_answers; then
        options=(--extra-index-url "$cpu_torch_index")
    fi
    pip_install "${options[@]}" --requirement "requirements/$name.txt"
}

# PyPI's torch for Linux carries CUDA, several GB; its CPU builds have an index of their own.
cpu_torch_index=https://download.pytorch.org/whl/cpu
cpu_torch_index_answers() {
    "$python" -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' "$cpu_torch_index/torch/"
}

# The command on the sources, as `pip install` would make it on a copy.
install_command() {
    cat >"$venv/bin/instance-seg.new" <<END
#!$python
import sys

sys.path.insert(0, "$root")
from instance_seg_ros.commands.main import main

if __name__ == "__main__":  # processes that the command starts import this file
    sys.exit(main())
END
    chmod +x "$venv/bin/instance-seg.new"
    mv "$venv/bin/instance-seg.new" "$venv/bin/instance-seg"
}

install_ros_wheels() {
    pip_install --requirement requirements/ros.txt &&
        "$python" scripts/patch_ros_wheels.py
}

build_package() {
    local prefix=()
    if [[ $mode == wheels ]]; then
        prefix=(env "PATH=$venv/bin:$PATH" "AMENT_PREFIX_PATH=$venv" "CMAKE_PREFIX_PATH=$venv")
    fi
    # Through a link: CMake refuses include folders inside the source folder, and numpy's are in .venv.
    rm -rf .ros/build .ros/install .ros/src && mkdir -p .ros/src && ln -s ../.. .ros/src/instance_seg_ros &&
        "${prefix[@]}" "${colcon[@]}" --log-base .ros/log build --symlink-install --event-handlers console_direct+ \
        --base-paths .ros/src --build-base .ros/build --install-base .ros/install \
        --cmake-args "-DPython3_EXECUTABLE=$python" -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF
}

# require_sourced_packages: the sourced ROS 2 has everything that package.xml names.
require_sourced_packages() {
    local package prefix missing=()
    for package in $(sed -nE 's:^ *<(depend|buildtool_depend|exec_depend)>([a-z_]+)</.*:\2:p' package.xml); do
        local found=
        IFS=: read -ra prefixes <<<"$AMENT_PREFIX_PATH"
        for prefix in "${prefixes[@]}"; do
            [[ -d $prefix/share/$package ]] && found=yes
        done
        [[ -n $found ]] || missing+=("ros-$ROS_DISTRO-${package//_/-}")
    done
    if ((${#missing[@]})); then
        install_packages "ROS $ROS_DISTRO lacks packages" "${missing[@]}"
    fi
}

# A shell in which env.sh was sourced has .venv's ROS 2 on its paths, which is not a ROS 2 of its own.
if [[ -n ${ROS_DISTRO:-} && -n ${AMENT_PREFIX_PATH:-} ]]; then
    mode=sourced
elif [[ $(uname -sm) == "Linux x86_64" ]]; then
    mode=wheels
else
    mode=none
    cure="ROS 2 has no wheels for $(uname -sm): install ROS 2 by apt (https://docs.ros.org/en/jazzy/Installation.html), source it"
    [[ $profile == test ]] || fail "$cure, and run this again."
    echo "$cure, and run this again. Without it only the ROS-free core is tested." >&2
fi

if ! venv_works; then
    find_python
    step "making .venv with $("$base_python" --version) ($base_python)" make_venv
fi
export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1 # no second start of Python by the wheels' hook: nothing here loads ROS libraries

if [[ $mode == wheels ]]; then
    ros_key=$(key requirements/ros.txt requirements/constraints.txt scripts/patch_ros_wheels.py)
    colcon=("$python" -m colcon)
elif [[ $mode == sourced ]]; then
    ros_key="$ROS_DISTRO $AMENT_PREFIX_PATH"
    colcon=(colcon)
fi

requirements_key=$(key requirements/{runtime,demo,docs,test,constraints}.txt)
# The packages of the tests hold those of the demo.
if ! is_done test "$requirements_key" && ! { [[ $profile == demo ]] && is_done demo "$requirements_key"; }; then
    step "installing Python packages ($profile)" install_requirements "$profile"
    mark_done "$profile" "$requirements_key"
fi

# It names opencv-python, whose files overwrite those of opencv-python-headless; what it needs is there without it.
tracking_judge=trackeval==1.3.0
if [[ $profile == test ]] && ! is_done tracking_judge "$tracking_judge"; then
    step "installing $tracking_judge" pip_install --no-deps "$tracking_judge"
    mark_done tracking_judge "$tracking_judge"
fi

install_command

kernels_key=$(grep -rl --include="*.py" "core.compiled import" instance_seg_ros | sort | xargs cat | cat - requirements/constraints.txt | sha256sum)
new_kernels=
if ! is_done kernels "$kernels_key"; then
    new_kernels=yes
    beside "compiling the kernels for this machine" "$python" -c 'import instance_seg_ros.pipeline
from instance_seg_ros.core.compiled import compile_kernels
compile_kernels(print)'
fi

install_ros_2() {
    local missing=()
    command -v cc >/dev/null || missing+=(gcc)
    command -v c++ >/dev/null || missing+=(g++)
    command -v make >/dev/null || missing+=(make)
    ((${#missing[@]} == 0)) || install_packages "Building the ROS 2 interfaces needs a compiler" "${missing[@]}" libc6-dev
    if [[ $mode == wheels ]]; then
        is_done ros "$ros_key" || {
            step "installing ROS 2 Jazzy from wheels" install_ros_wheels
            mark_done ros "$ros_key"
        }
    else
        require_sourced_packages
        command -v colcon >/dev/null || install_packages "ROS $ROS_DISTRO is sourced without colcon" python3-colcon-common-extensions
    fi
}

if [[ $mode != none ]]; then
    package_key=$(
        { cat msg/* srv/* CMakeLists.txt package.xml scripts/executable.py.in && find config launch | sort && echo "$ros_key"; } |
            sha256sum
    )
    if ! is_done package "$package_key"; then
        install_ros_2
        step "building the ROS 2 interfaces" build_package
        mark_done package "$package_key"
    fi
fi

if [[ $new_kernels ]]; then
    join
    mark_done kernels "$kernels_key"
fi
