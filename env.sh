# Source this from bash or zsh, after `make setup`, `make demo` or `make test` has set things up:
#     source env.sh
# It gives a shell with .venv, ROS 2 and this package on its paths. Edits of the sources take effect at once.

if [ -n "${ZSH_VERSION:-}" ]; then
    eval '_isr_root=$(cd "$(dirname "${(%):-%x}")" && pwd)'
else
    _isr_root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
fi

# _isr_prepend NAME FOLDER: put FOLDER first in the path list NAME, once.
_isr_prepend() {
    eval "_isr_old=\${$1:-}"
    case ":$_isr_old:" in
        *":$2:"*) ;;
        *) export "$1=$2${_isr_old:+:$_isr_old}" ;;
    esac
    unset _isr_old
}

if [ -x "$_isr_root/.venv/bin/python" ]; then
    _isr_prepend PATH "$_isr_root/.venv/bin"
    export VIRTUAL_ENV="$_isr_root/.venv"
    # ROS 2 from wheels lives in the environment itself; a sourced ROS 2 is on the paths already.
    if [ -d "$_isr_root/.venv/share/rclpy" ]; then
        for _isr_folder in "$_isr_root"/.venv/lib/python3.*/site-packages/ros_*.libs "$_isr_root/.venv/lib"; do
            [ -d "$_isr_folder" ] && _isr_prepend LD_LIBRARY_PATH "$_isr_folder"
        done
        _isr_prepend AMENT_PREFIX_PATH "$_isr_root/.venv"
        _isr_prepend CMAKE_PREFIX_PATH "$_isr_root/.venv"
        export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1 # their start-up hook sets the same paths by starting Python twice
    fi
    _isr_prefix="$_isr_root/.ros/install/instance_seg_ros"
    if [ -d "$_isr_prefix" ]; then
        for _isr_folder in "$_isr_prefix"/lib/python3.*/site-packages; do
            _isr_prepend PYTHONPATH "$_isr_folder"
        done
        _isr_prepend LD_LIBRARY_PATH "$_isr_prefix/lib"
        _isr_prepend AMENT_PREFIX_PATH "$_isr_prefix"
        _isr_prepend CMAKE_PREFIX_PATH "$_isr_prefix"
    fi
    # Before the installed copy, so that the sources are what runs.
    _isr_prepend PYTHONPATH "$_isr_root"
    unset _isr_folder _isr_prefix
else
    echo "env.sh: there is no .venv in $_isr_root yet; run 'make setup' there first" >&2
fi
unset _isr_root
unset -f _isr_prepend
