// What the guest's resident shell runs. Names begin with _at_ and never reach a command.
//
// bash: _at_1 hands a command to executor number $1, a long-lived subshell that reads a pipe. It is
// started at the script's top level (eval "$_at_S"), so that a command sees no function around it.
// It forks one subshell for the command, waits for that one only (children that keep stdout open
// hang nothing), and prints the frame. Small text is read back by builtins: no program is executed.
//   fd 9  the token: one byte in a pipe; who holds it may print a frame
//   _at_D directory; D/pN "id pid" of what executor N runs; D/N its tmpfs with the outputs
#include "lib/proto/shell.h"

#include <string>

namespace attest::proto {
namespace {

constexpr std::string_view bash_script = R"sh(
_at_say(){ local t;read -rN1 -t 20 -u 9 t;printf '%s{%s %s %s 0 0\n\n%s}%s\n' $_at_N $1 $2 $3 $_at_N $1;printf x >&9;}
_at_1(){ [ "$2" = "$4" ]||{ _at_say $2 d 0;return;};printf '%s %s\n%s' $2 ${#3} "$3" >&${_at_w[$1]}||_at_say $2 s 2;}
_at_2(){ local i p;read -r i p <$_at_D/p$1;[ "$i" = $2 ]&&kill -$3 -- -$p&&kill -CONT -- -$p;} 2>/dev/null
_at_3(){ local i p r=1;read -r i p <$_at_D/p$1;[ "$i" = $2 ]&&kill -0 $p&&r=0;kill -0 ${_at_p[$1]}||r=2;_at_say $2 s $r;} 2>/dev/null
_at_fs(){ [ -d $_at_d ]||mkdir -m 700 $_at_d;mount -t tmpfs -o size=64m,mode=700 attest $_at_d;}
_at_S='[ -z "${_at_w[_at_x]}" ]||eval "exec ${_at_w[_at_x]}>&-"
exec {_at_i}> >(eval "$_at_L");_at_w[_at_x]=$_at_i _at_p[_at_x]=$!'
_at_L='exec 2>/dev/null
for _at_i in ${_at_w[@]};do eval "exec $_at_i>&-";done
trap - PIPE;_at_d=$_at_D/$_at_x _at_k=0;_at_fs
set -m
while read -r _at_i _at_n&&IFS= read -rN $_at_n _at_c;do
_at_o=$_at_d/o$_at_i _at_e=$_at_d/e$_at_i _at_t=r _at_b=
(exec 9>&-;eval "$_at_u$_at_c") </dev/null >$_at_o 2>$_at_e &
echo $_at_i $! >$_at_D/p$_at_x
wait $_at_f $!
_at_r=$?
echo >$_at_d/w||_at_t=f
>$_at_d/w
IFS= read -rd "" -n 8193 _at_a <$_at_o&&_at_b=1
IFS= read -rd "" -n 8193 _at_q <$_at_e&&_at_b=1
[ $_at_t = r ]||_at_a= _at_q= _at_b=
if [ $_at_b ];then
_at_g=($(stat -c %s $_at_o $_at_e))
read -rN1 -t 60 -u 9 _at_y
printf "%s{%s %s %s %s %s\n" $_at_N $_at_i $_at_t $_at_r ${_at_g[0]} ${_at_g[1]}
((_at_g[0]))&&head -c ${_at_g[0]} $_at_o
((_at_g[1]))&&head -c ${_at_g[1]} $_at_e
printf "\n%s}%s\n" $_at_N $_at_i
else
read -rN1 -t 60 -u 9 _at_y
printf "%s{%s %s %s %s %s\n%s%s\n%s}%s\n" $_at_N $_at_i $_at_t $_at_r ${#_at_a} ${#_at_q} "$_at_a" "$_at_q" $_at_N $_at_i
fi
printf x >&9
if [ $_at_b$_at_t != r ]||((++_at_k%50==0));then _at_g=($_at_d/[oe]*);rm -f "${_at_g[@]}";fi
[ $_at_t = f ]&&! { echo >$_at_d/w&&>$_at_d/w;}&&umount -l $_at_d&&_at_fs
done
umount -l $_at_d;rm -rf $_at_D/p$_at_x $_at_d;rmdir $_at_D/[0-9]* $_at_D'
_at_u='set +m;unset -v LC_ALL;';[ "${LC_ALL+x}" ]&&printf -v _at_u 'set +m;LC_ALL=%q;' "$LC_ALL"
_at_u+='unset -v ${!_at_@};unset -f _at_say _at_1 _at_2 _at_3 _at_fs
'
LC_ALL=C BASH_ARGV0=bash _at_f=;((BASH_VERSINFO>4))&&_at_f=-f
trap : PIPE
exec 9<> <(:);printf x >&9
for _at_D in /run /dev/shm /tmp;do _at_D=$_at_D/attest.$_at_K;mkdir -m 700 $_at_D $_at_D/{0..31} 2>/dev/null&&break;_at_D=;done
_at_r=0;[ "$_at_D" ]||_at_r=1;_at_say 0 b $_at_r
)sh";

// dash and busybox have neither arrays nor process groups without a terminal: each command is a
// file that a new sh runs, in a group of its own where there is setsid.
constexpr std::string_view posix_script = R"sh(
_at_say(){ read _at_t <&9;printf '%s{%s %s %s 0 0\n\n%s}%s\n' $_at_N $1 $2 $3 $_at_N $1;echo >&9;}
_at_1(){ [ "$2" = "$4" ]||{ _at_say $2 d 0;return;};printf %s "$3" >$_at_D/c$2;_at_run $1 $2 2>/dev/null & }
_at_2(){ _at_i=;read _at_i _at_p <$_at_D/p$1;[ "$_at_i" = $2 ]||return 0;kill -s $3 -- -$_at_p||kill -s $3 $_at_p;kill -s CONT -- -$_at_p;} 2>/dev/null
_at_3(){ _at_r=1 _at_i=;read _at_i _at_p <$_at_D/p$1;[ "$_at_i" = $2 ]&&kill -0 $_at_p&&_at_r=0;_at_say $2 s $_at_r;} 2>/dev/null
_at_run(){ _at_o=$_at_D/o$2 _at_e=$_at_D/e$2 _at_k=r
$_at_S sh $_at_D/c$2 </dev/null >$_at_o 2>$_at_e 9>&- &
_at_p=$!;echo $2 $_at_p >$_at_D/p$1;wait $_at_p;_at_r=$?
echo >$_at_D/w$1||_at_k=f
>$_at_D/w$1
_at_a=0 _at_b=0;if [ $_at_k = f ];then rm -f $_at_o $_at_e;else _at_a=$(wc -c <$_at_o) _at_b=$(wc -c <$_at_e);fi
read _at_t <&9
printf '%s{%s %s %s %s %s\n' $_at_N $2 $_at_k $_at_r $_at_a $_at_b
[ $_at_a = 0 ]||head -c $_at_a $_at_o;[ $_at_b = 0 ]||head -c $_at_b $_at_e
printf '\n%s}%s\n' $_at_N $2
echo >&9;rm -f $_at_o $_at_e $_at_D/c$2;}
_at_S=;command -v setsid >/dev/null&&_at_S=setsid
for _at_D in /run /dev/shm /tmp;do _at_D=$_at_D/attest.$_at_K;mkdir -m 700 $_at_D 2>/dev/null&&break;_at_D=;done
_at_r=0;[ "$_at_D" ]||_at_r=1
mount -t tmpfs -o size=64m,mode=700 attest $_at_D 2>/dev/null;mkfifo $_at_D/t;exec 9<>$_at_D/t;echo >&9
_at_say 0 b $_at_r
)sh";

}  // namespace

std::string shell_bootstrap(ShellKind kind, std::string_view nonce) {
  // The directory's name is visible to commands, so it must not hold the whole nonce.
  std::string text = "_at_N=" + std::string(nonce) + " _at_K=" + std::string(nonce.substr(0, 8));
  text += kind == ShellKind::bash ? bash_script : posix_script;
  return text;
}

}  // namespace attest::proto
