// The one place that names Asio for the inside of the library.
#pragma once
#include "attest/deadline.h"
#include "attest/error.h"
#include "attest/stream.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace attest {
namespace asio = boost::asio;
}
