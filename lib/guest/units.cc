#include "lib/guest/units.h"

#include "lib/base/text.h"
#include "lib/guest/words.h"

#include <utility>

namespace attest::guest {
namespace {

// $@ is systemctl with what reaches the right manager.
constexpr std::string_view body = R"sh(
_show(){ a= s= j= r= l= x=;while IFS== read -r k v;do case $k in ActiveState)a=$v;;SubState)s=$v;;Job)j=$v;;Result)r=$v;;LoadState)l=$v;;*)x=$k;;esac;done <<_end
$(_ctl show -p ActiveState -p SubState -p Job -p Result -p LoadState -- "$u" 2>&1||echo "Result=systemctl-failed")
_end
};_show
case $a in
active|reloading|refreshing)exit 0;;
failed)echo "unit '$u' reached state 'failed' (result: $r)";exit 2;;
inactive)
if [ "${j:-0}" = 0 ];then q=$(_ctl list-jobs --no-legend 2>/dev/null)&&case $q in ''|'No jobs'*)
_show
if [ "$a" = inactive ]&&[ "${j:-0}" = 0 ];then
[ "$l" != not-found ]||{ echo "unit '$u' does not exist in the guest (systemd calls it not-found)";exit 2;}
[ "$l" != masked ]||{ echo "unit '$u' is masked";exit 2;}
echo "unit '$u' is inactive and no jobs are pending";exit 2;fi;;esac;fi;;
'')echo "systemctl does not answer${x:+: $x}";exit 1;;
esac
[ "$a" = active ]&&exit 0
if [ "${j:-0}" = 0 ];then echo "$a ($s)";else echo "$a ($s), job $j pending";fi
exit 1
)sh";

}  // namespace

std::string unit_probe(const std::string& unit, const std::string& user) {
  check(UnitActive{unit, user});
  std::string text =
      "[ -d /run/systemd/system ]||{ echo 'systemd does not run in this guest';exit 3;}\nu=" +
      base::shell_quote(unit) + "\n";
  if (user.empty()) {
    text += "_ctl(){ systemctl --no-pager \"$@\";}";
  } else {
    auto name = base::shell_quote(user);
    text +=
        "w=" + name + "\n" +
        R"sh({ getent passwd "$w"||grep "^$w:" /etc/passwd;} >/dev/null 2>&1||{ echo "the guest has no user '$w'";exit 2;}
)sh";
    // The arguments hold nothing but the validated unit name and our own words.
    text += "_ctl(){ su -l " + name +
            " --shell /bin/sh -c \"XDG_RUNTIME_DIR=/run/user/\\$(id -u) systemctl --user "
            "--no-pager $(_words \"$@\")\";}\n"
            "_words(){ for w;do printf \"'%s' \" \"$w\";done;}";
  }
  return text + std::string(body);
}

Task<void> wait_for_unit(Guest& guest, std::string unit, UnitOptions options, Deadline deadline) {
  Condition condition = UnitActive{std::move(unit), std::move(options.user)};
  co_await guest.wait_for(condition, deadline);
}

}  // namespace attest::guest
