// run: a command, from its fields to its end. Which way it starts (a program of its own, or a text
// for the resident shell) makes no difference afterwards.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "guest/agent/operation.h"
#include "guest/agent/pty.h"
#include "guest/agent/pump.h"
#include "guest/agent/resident_shell.h"
#include "guest/agent/shell_text.h"
#include "guest/agent/spawn.h"

namespace attest::agent {
namespace {

using std::chrono::milliseconds;

// A longer argument than 128 KiB is refused by the kernel.
constexpr std::size_t longest_argument = 120'000;
constexpr auto group_check = milliseconds(5);

std::string quoted(std::string_view text) { return "'" + std::string(text) + "'"; }
bool has_nul(std::string_view text) { return text.find('\0') != text.npos; }

class Run final : public Operation {
 public:
  Run(const AgentFields& fields, Output& out, Services services)
      : Operation(out),
        services_(services),
        argv_(fields.all("argv")),
        env_(fields.all("env")),
        shell_(fields.get("shell")),
        cwd_(fields.get("cwd")),
        user_(fields.get("user")),
        pty_(fields.get("pty")),
        is_shell_(fields.has("shell")),
        strict_(fields.get("strict") == "1"),
        with_input_(fields.get("stdin") == "1"),
        timeout_(fields.number("timeout_ms")),
        grace_(std::max<std::int64_t>(fields.number("grace_ms").value_or(2000), 0)) {}
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  ~Run() override;

  void start() override;
  void on_data(std::uint8_t, std::string_view bytes) override { input_.add(bytes); }
  void on_end(std::uint8_t) override { input_.end(); }
  void on_event(const AgentFields& fields) override;
  void on_room() override {
    output_.resume();
    errors_.resume();
    finish_if_over();
  }
  void on_cancel() override {
    cancelled_ = true;
    stop();
    finish_if_over();
  }

 private:
  std::string usage() const;
  void begin();
  bool fits_executor() const;
  void begin_text();
  void begin_program();
  bool prepare_argv(Program& program, Fd& script);
  bool prepare_pipes(Program& program, Fd (&theirs)[3]);
  void refuse(const Spawned& spawned, const Program& program);
  void started(pid_t pid, Fd in, Fd out, Fd err);
  void end_with(int code, std::string_view message);
  void fail(std::string_view what, int error);

  void stop();
  void send_signal(int number);
  void on_exit(int status);
  void wait_for_group();
  void finish_if_over();

  Services services_;
  std::vector<std::string> argv_, env_;
  const std::string shell_, cwd_, user_, pty_;
  const bool is_shell_, strict_, with_input_;
  const std::optional<std::int64_t> timeout_;
  const std::int64_t grace_;

  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  InputPump input_{services_.loop, out_};
  OutputPump output_{services_.loop, out_, proto::agent_output, [this] { finish_if_over(); }};
  OutputPump errors_{services_.loop, out_, proto::agent_error_output, [this] { finish_if_over(); }};
  Fd terminal_;                            // for its size
  Fd input_end_, output_end_, error_end_;  // until it has started
  pid_t pid_ = -1;
  int status_ = 0;
  std::vector<int> early_signals_;
  Loop::Timer timeout_timer_ = 0, kill_timer_ = 0, group_timer_ = 0;
  bool exited_ = false, group_gone_ = true, done_ = false;
  bool stopping_ = false, cancelled_ = false, timed_out_ = false;
};

Run::~Run() {
  for (auto timer : {timeout_timer_, kill_timer_, group_timer_}) services_.loop.cancel(timer);
  if (pid_ <= 0) return;
  if (!exited_) services_.loop.forget_exit(pid_);
  if (!exited_ || !group_gone_) kill(-pid_, SIGKILL);
}

std::string Run::usage() const {
  if (is_shell_ == !argv_.empty()) return "a command is either argv or shell";
  if (has_nul(shell_)) return "a shell text cannot hold a NUL byte";
  for (const auto& list : {argv_, env_, {cwd_, user_}})
    if (std::any_of(list.begin(), list.end(), has_nul)) return "a field cannot hold a NUL byte";
  for (const auto& entry : env_)
    if (entry.find('=') == entry.npos || entry[0] == '=')
      return "env " + quoted(entry) + " is not NAME=value";
  if (!pty_.empty() && !parse_size(pty_)) return "pty " + quoted(pty_) + " is not ROWSxCOLUMNS";
  return "";
}

void Run::start() {
  if (auto wrong = usage(); !wrong.empty()) return out_.error("usage", wrong);
  if (timeout_) {
    timeout_timer_ = services_.loop.at(Clock::now() + milliseconds(*timeout_), [this] {
      timeout_timer_ = 0;
      if (exited_ || stopping_) return;
      timed_out_ = true;
      stop();
    });
  }
  services_.shell.when_ready(alive_, [this] { begin(); });
}

void Run::begin() {
  if (stopping_) return;
  if (fits_executor()) return begin_text();
  begin_program();
}

bool Run::fits_executor() const {
  return is_shell_ && services_.shell.is_bash() && user_.empty() && cwd_.empty() && pty_.empty() &&
         !needs_own_shell(shell_) &&
         std::all_of(env_.begin(), env_.end(), [](std::string_view entry) {
           return shell_name(entry.substr(0, entry.find('=')));
         });
}

void Run::begin_text() {
  const auto text = strict_text(shell_, strict_, true);
  services_.shell.run(alive_, {text, env_, with_input_}, [this](Executor* executor) {
    if (executor == nullptr) return begin_program();
    started(executor->pid, std::move(executor->in), std::move(executor->out),
            std::move(executor->err));
  });
}

void Run::begin_program() {
  Program program;
  Fd script, theirs[3];
  program.env = services_.shell.environment();
  for (const char* name : {"PWD", "OLDPWD", "SHLVL", "_"}) env_unset(program.env, name);
  if (!user_.empty()) {
    program.user = find_user(user_);
    if (!program.user) return out_.error("guest", "the guest has no user " + quoted(user_));
    env_set(program.env, "HOME=" + program.user->home);
    env_set(program.env, "USER=" + program.user->name);
    env_set(program.env, "LOGNAME=" + program.user->name);
  }
  if (!pty_.empty() && env_value(program.env, "TERM").empty()) env_set(program.env, "TERM=linux");
  for (const auto& entry : env_) env_set(program.env, entry);
  program.cwd = cwd_.empty() ? "/tmp" : cwd_;
  if (cwd_.empty() && access("/tmp", X_OK) != 0) program.cwd = "/";
  if (!prepare_argv(program, script)) return fail("passing the text on", errno);
  if (pty_.empty() && !prepare_pipes(program, theirs)) return;
  if (!pty_.empty()) {
    auto terminal = open_terminal(*parse_size(pty_));
    if (!terminal) return fail("opening a terminal", errno);
    theirs[0] = std::move(terminal->theirs);
    program.in = program.out = program.err = theirs[0].get();
    program.terminal = true;
    terminal_ = Fd(fcntl(terminal->ours.get(), F_DUPFD_CLOEXEC, 3));
    input_end_ = Fd(fcntl(terminal->ours.get(), F_DUPFD_CLOEXEC, 3));
    output_end_ = std::move(terminal->ours);
    if (!terminal_ || !input_end_) return fail("opening a terminal", errno);
  }
  const auto spawned = spawn(program);
  if (spawned.failed != Spawned::Step::none) return refuse(spawned, program);
  started(spawned.pid, std::move(input_end_), std::move(output_end_), std::move(error_end_));
}

// Fills argv; `script` keeps a long text's descriptor.
bool Run::prepare_argv(Program& program, Fd& script) {
  if (!is_shell_) {
    program.argv = argv_;
    return true;
  }
  const auto& shell = services_.shell.shell();
  const bool bash = services_.shell.is_bash();
  const auto text = strict_text(shell_, strict_, bash);
  if (text.size() <= longest_argument) {
    program.argv = {shell, "-c", text, bash ? "bash" : "sh"};
    return true;
  }
  script.reset(memfd_create("attest", MFD_CLOEXEC));
  const auto content = own_shell_script(text);
  for (std::string_view rest = content; !rest.empty();) {
    const auto count = write(script.get(), rest.data(), rest.size());
    if (count <= 0) return false;
    rest.remove_prefix(static_cast<std::size_t>(count));
  }
  program.extra = script.get();
  program.argv = {shell, "-c", std::string(own_shell_program()), bash ? "bash" : "sh"};
  return true;
}

bool Run::prepare_pipes(Program& program, Fd (&theirs)[3]) {
  Fd* const ours[] = {&input_end_, &output_end_, &error_end_};
  int* const places[] = {&program.in, &program.out, &program.err};
  for (int i = with_input_ ? 0 : 1; i < 3; ++i) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return fail("making pipes", errno), false;
    theirs[i].reset(ends[i == 0 ? 0 : 1]);
    ours[i]->reset(ends[i == 0 ? 1 : 0]);
    fcntl(ours[i]->get(), F_SETFL, O_NONBLOCK);
    *places[i] = theirs[i].get();
  }
  return true;
}

void Run::refuse(const Spawned& spawned, const Program& program) {
  const std::string why = std::strerror(spawned.error);
  const auto& name = program.argv[0];
  switch (spawned.failed) {
    case Spawned::Step::exec:
      // What a shell answers.
      if (spawned.error != ENOENT) return end_with(126, name + ": " + why);
      return end_with(127,
                      name + (name.find('/') == name.npos ? ": command not found" : ": " + why));
    case Spawned::Step::directory:
      return out_.error("guest",
                        "cannot change to the directory " + quoted(program.cwd) + ": " + why);
    case Spawned::Step::user:
      return out_.error("guest", "cannot become the user " + quoted(user_) + ": " + why);
    default:
      return fail("starting a process", spawned.error);
  }
}

void Run::fail(std::string_view what, int error) {
  out_.error("guest", std::string(what) + " failed in the guest: " + std::strerror(error));
}

void Run::end_with(int code, std::string_view message) {
  done_ = true;
  const auto channel = pty_.empty() ? proto::agent_error_output : proto::agent_output;
  out_.data(channel, "attest-agent: " + std::string(message) + (pty_.empty() ? "\n" : "\r\n"));
  out_.end(proto::agent_output);
  out_.end(proto::agent_error_output);
  out_.done(AgentFields().add("code", code));
}

void Run::started(pid_t pid, Fd in, Fd out, Fd err) {
  pid_ = pid;
  services_.loop.on_exit(pid_, [this](int status) { on_exit(status); });
  out_.event(AgentFields().add("pid", pid_));
  const bool terminal = !pty_.empty();
  if (in) {
    input_.open(std::move(in), terminal);
  } else {
    input_.close();
  }
  output_.open(std::move(out), terminal);
  if (err) errors_.open(std::move(err), false);
  for (int number : early_signals_) send_signal(number);
}

void Run::on_event(const AgentFields& fields) {
  if (auto number = fields.number("signal"); number && *number > 0 && *number < 65)
    send_signal(static_cast<int>(*number));
  const auto rows = fields.number("rows"), columns = fields.number("columns");
  if (rows && columns && terminal_) {
    resize_terminal(terminal_.get(),
                    {static_cast<unsigned short>(*rows), static_cast<unsigned short>(*columns)});
  }
}

void Run::send_signal(int number) {
  if (pid_ <= 0) {
    if (early_signals_.size() < 16) early_signals_.push_back(number);
  } else if (!exited_) {
    kill(-pid_, number);
  }
}

// As a timeout does, and cancel: SIGTERM, later SIGKILL, for all of the group.
void Run::stop() {
  if (std::exchange(stopping_, true) || done_) return;
  if (pid_ <= 0) {
    alive_.reset();  // it must not start any more
    exited_ = true;
    status_ = SIGTERM;
    output_.abandon();
    errors_.abandon();
    return finish_if_over();
  }
  kill(-pid_, SIGTERM);
  kill(-pid_, SIGCONT);
  group_gone_ = false;
  kill_timer_ = services_.loop.at(Clock::now() + milliseconds(grace_), [this] {
    kill_timer_ = 0;
    kill(-pid_, SIGKILL);
  });
  if (exited_) wait_for_group();
}

void Run::on_exit(int status) {
  exited_ = true;
  status_ = status;
  input_.close();
  if (stopping_) wait_for_group();
  output_.finish();
  errors_.finish();
  finish_if_over();
}

// The leader has ended; others of its group may take their time to.
void Run::wait_for_group() {
  group_timer_ = 0;
  if (kill(-pid_, 0) == 0 || errno == EPERM) {
    group_timer_ = services_.loop.at(Clock::now() + group_check, [this] { wait_for_group(); });
    return;
  }
  group_gone_ = true;
  services_.loop.cancel(std::exchange(kill_timer_, 0));
  finish_if_over();
}

void Run::finish_if_over() {
  if (done_ || !exited_ || (stopping_ && !group_gone_)) return;
  if (cancelled_ && !(output_.is_over() && errors_.is_over()) && out_.room() == 0) {
    // Nobody reads, and it has been called off.
    output_.abandon();
    errors_.abandon();
  }
  if (done_ || !output_.is_over() || !errors_.is_over()) return;
  done_ = true;
  AgentFields fields;
  if (WIFSIGNALED(status_)) {
    fields.add("signal", WTERMSIG(status_));
  } else {
    fields.add("code", WEXITSTATUS(status_));
  }
  if (timed_out_) fields.add("timed_out", 1);
  out_.done(fields);
}

}  // namespace

std::unique_ptr<Operation> make_run(const AgentFields& fields, Output& out, Services services) {
  return std::make_unique<Run>(fields, out, services);
}

}  // namespace attest::agent
