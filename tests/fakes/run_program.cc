#include "run_program.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <stdexcept>

namespace attest::fakes {

ProgramRun run_program(std::vector<std::string> argv, std::map<std::string, std::string> env,
                       std::chrono::seconds limit) {
  using Clock = std::chrono::steady_clock;
  int ends[2];
  if (::pipe(ends) != 0) throw std::runtime_error("pipe");
  auto started = Clock::now();
  pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that is killed leaves no program behind
    ::setpgid(0, 0);
    ::dup2(ends[1], 1);
    ::dup2(ends[1], 2);
    ::close(ends[0]);
    ::close(ends[1]);
    for (auto& [key, value] : env) ::setenv(key.c_str(), value.c_str(), 1);
    std::vector<char*> words;
    for (auto& word : argv) words.push_back(word.data());
    words.push_back(nullptr);
    ::execvp(words[0], words.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  ProgramRun run;
  char buffer[4096];
  for (;;) {
    auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(started + limit - Clock::now())
            .count();
    pollfd ready{ends[0], POLLIN, 0};
    if (left <= 0 || ::poll(&ready, 1, static_cast<int>(left)) == 0) {
      run.timed_out = true;
      ::kill(-pid, SIGKILL);
      break;
    }
    ssize_t count = ::read(ends[0], buffer, sizeof buffer);
    if (count <= 0) break;
    run.output.append(buffer, static_cast<std::size_t>(count));
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  run.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  run.took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - started);
  return run;
}

}  // namespace attest::fakes
