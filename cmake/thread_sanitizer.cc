// Linked into every program of the preset tsan, and into nothing else: what ThreadSanitizer must be
// told about the libraries of the system, which are built without it.
//
// It learns who waits for whom from the calls that it intercepts, pthread_mutex_lock and the like.
// absl::Mutex, on which gRPC stands, sleeps in futex system calls instead: all that happens in a
// callback of gRPC would look unordered with what came before it in another thread. So the calls
// that gRPC and our binaries make to absl::Mutex and absl::CondVar come here first. They pass them
// on and tell ThreadSanitizer of the order that these make. The same for the count of references of
// absl::Status, whose last holder deletes what the others have read, and for gRPC's queues of what
// is complete, which have no lock.
//
// This file itself is compiled without the sanitizer.
#include <dlfcn.h>
#include <grpc/grpc.h>
#include <pthread.h>
#include <sanitizer/tsan_interface.h>
#include <threads.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/options.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace {

#define TOCSIN_TEXT_OF(x) #x
#define TOCSIN_TEXT(x) TOCSIN_TEXT_OF(x)

// The same function in the library.
template <typename Function>
Function* NextNamed(const std::string& name) {
  void* const found = dlsym(RTLD_NEXT, name.c_str());
  if (found == nullptr) {
    std::fprintf(stderr, "cmake/thread_sanitizer.cc: no library has %s\n", name.c_str());
    std::abort();
  }
  return reinterpret_cast<Function*>(found);
}

// absl and its inline namespace, in mangled names.
std::string MangledAbsl() {
  const std::string space = TOCSIN_TEXT(ABSL_OPTION_INLINE_NAMESPACE_NAME);
  return "4absl" + std::to_string(space.size()) + space;
}

// The same function of absl, by the rest of its mangled name.
template <typename Function>
Function* Next(const std::string& rest) {
  return NextNamed<Function>("_ZN" + MangledAbsl() + rest);
}

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  static auto* const next = Next<void(Mutex*)>("5Mutex4LockEv");
  next(this);
  __tsan_acquire(this);
}

bool Mutex::TryLock() {
  static auto* const next = Next<bool(Mutex*)>("5Mutex7TryLockEv");
  const bool locked = next(this);
  if (locked) __tsan_acquire(this);
  return locked;
}

void Mutex::Unlock() {
  static auto* const next = Next<void(Mutex*)>("5Mutex6UnlockEv");
  __tsan_release(this);
  next(this);
}

void CondVar::Wait(Mutex* mutex) {
  static auto* const next = Next<void(CondVar*, Mutex*)>("7CondVar4WaitEPNS0_5MutexE");
  __tsan_release(mutex);
  next(this, mutex);
  __tsan_acquire(mutex);
}

bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  static auto* const next = Next<bool(CondVar*, Mutex*, Duration)>(
      "7CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE");
  __tsan_release(mutex);
  const bool timed_out = next(this, mutex, timeout);
  __tsan_acquire(mutex);
  return timed_out;
}

bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  static auto* const next =
      Next<bool(CondVar*, Mutex*, Time)>("7CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE");
  __tsan_release(mutex);
  const bool timed_out = next(this, mutex, deadline);
  __tsan_acquire(mutex);
  return timed_out;
}

void Status::UnrefNonInlined(uintptr_t rep) {
  static auto* const next = Next<void(uintptr_t)>("6Status15UnrefNonInlinedEm");
  void* const counted = reinterpret_cast<void*>(rep);
  __tsan_release(counted);
  __tsan_acquire(counted);
  next(rep);
}

ABSL_NAMESPACE_END
}  // namespace absl

// What a batch of operations is started with is there when its tag comes out of the queue.
extern "C" grpc_call_error grpc_call_start_batch(grpc_call* call, const grpc_op* ops, size_t count,
                                                 void* tag, void* reserved) {
  static auto* const next = NextNamed<decltype(grpc_call_start_batch)>("grpc_call_start_batch");
  __tsan_release(tag);
  return next(call, ops, count, tag, reserved);
}

// A server's requests are in no batch: libgrpc++.so makes one when a call comes, and the thread
// that serves it takes it from the queue. All that is complete comes into a queue here.
struct grpc_cq_completion;
void grpc_cq_end_op(grpc_completion_queue* queue, void* tag, absl::Status error,
                    void (*done)(void*, grpc_cq_completion*), void* done_argument,
                    grpc_cq_completion* storage, bool internal) {
  static auto* const next = NextNamed<decltype(grpc_cq_end_op)>(
      "_Z14grpc_cq_end_opP21grpc_completion_queuePvN" + MangledAbsl() +
      "6StatusEPFvS1_P18grpc_cq_completionES1_S6_b");
  __tsan_release(tag);
  next(queue, tag, std::move(error), done, done_argument, storage, internal);
}

extern "C" grpc_event grpc_completion_queue_next(grpc_completion_queue* queue,
                                                 gpr_timespec deadline, void* reserved) {
  static auto* const next =
      NextNamed<decltype(grpc_completion_queue_next)>("grpc_completion_queue_next");
  const grpc_event event = next(queue, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE) __tsan_acquire(event.tag);
  return event;
}

extern "C" grpc_event grpc_completion_queue_pluck(grpc_completion_queue* queue, void* tag,
                                                  gpr_timespec deadline, void* reserved) {
  static auto* const next =
      NextNamed<decltype(grpc_completion_queue_pluck)>("grpc_completion_queue_pluck");
  const grpc_event event = next(queue, tag, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE) __tsan_acquire(tag);
  return event;
}

// --- C11's threads ---

// librdkafka has these, which ThreadSanitizer does not intercept: it knew nothing of such a thread
// and broke where that called it. In glibc they are those of POSIX under other names.
namespace {

int ToC11(int error) {
  switch (error) {
    case 0:
      return thrd_success;
    case ENOMEM:
      return thrd_nomem;
    case ETIMEDOUT:
      return thrd_timedout;
    default:
      return thrd_error;
  }
}

struct Start {
  thrd_start_t function;
  void* argument;
};

void* RunC11Thread(void* argument) {
  const std::unique_ptr<Start> start(static_cast<Start*>(argument));
  return reinterpret_cast<void*>(static_cast<std::intptr_t>(start->function(start->argument)));
}

pthread_mutex_t* Posix(mtx_t* mutex) { return reinterpret_cast<pthread_mutex_t*>(mutex); }
pthread_cond_t* Posix(cnd_t* condition) { return reinterpret_cast<pthread_cond_t*>(condition); }

}  // namespace

extern "C" int thrd_create(thrd_t* thread, thrd_start_t function, void* argument) {
  auto start = std::make_unique<Start>(Start{function, argument});
  const int error = pthread_create(thread, nullptr, RunC11Thread, start.get());
  if (error == 0) start.release();
  return ToC11(error);
}

extern "C" int thrd_join(thrd_t thread, int* result) {
  void* returned = nullptr;
  const int error = pthread_join(thread, &returned);
  if (result != nullptr) {
    *result = static_cast<int>(reinterpret_cast<std::intptr_t>(returned));
  }
  return ToC11(error);
}

extern "C" int mtx_lock(mtx_t* mutex) { return ToC11(pthread_mutex_lock(Posix(mutex))); }
extern "C" int mtx_unlock(mtx_t* mutex) { return ToC11(pthread_mutex_unlock(Posix(mutex))); }
extern "C" void mtx_destroy(mtx_t* mutex) { pthread_mutex_destroy(Posix(mutex)); }

extern "C" int cnd_wait(cnd_t* condition, mtx_t* mutex) {
  return ToC11(pthread_cond_wait(Posix(condition), Posix(mutex)));
}

extern "C" int cnd_timedwait(cnd_t* condition, mtx_t* mutex, const timespec* deadline) {
  return ToC11(pthread_cond_timedwait(Posix(condition), Posix(mutex), deadline));
}

// --- whose report it is ---

// What the runtime of the sanitizer offers beside its public header.
extern "C" int __tsan_get_report_data(void* report, const char** description, int* count,
                                      int* stack_count, int* mop_count, int* loc_count,
                                      int* mutex_count, int* thread_count, int* unique_tid_count,
                                      void** sleep_trace, unsigned long trace_size);
extern "C" int __tsan_get_report_mop(void* report, unsigned long index, int* tid, void** address,
                                     int* size, int* write, int* atomic, void** trace,
                                     unsigned long trace_size);

namespace {

// Libraries that hand their own memory from thread to thread with atomics and spin locks, which
// ThreadSanitizer does not see in them, and that then copy, compare, free or close what they took.
constexpr std::string_view kForeign[] = {
    // Calls, timers, polling, and the messages of its control plane.
    "libgrpc.so", "libgrpc++.so", "libgpr.so", "libupb.so",
    // Records of TLS, in memory of gRPC.
    "libssl.so", "libcrypto.so",
    // Its tables that are made once, and what it reads from gRPC's memory.
    "libprotobuf.so",
    // Cords, payloads of statuses, time zones, the graph of the order of mutexes.
    "libabsl_",
    // Between its background threads and those that read.
    "librocksdb.so"};
// What stands between an access and who made it. In our binaries those are also the functions of
// the standard library's templates, which the libraries call there.
constexpr std::string_view kBetween[] = {"libtsan.so", "libstdc++.so", "libc.so"};
constexpr std::string_view kBetweenFunctions[] = {"_ZNSt", "_ZNKSt"};
// Functions of absl and of gRPC's headers that stand in our binaries. Where nothing of ours called
// them, a library did, which has counted references to what they touch. The one of absl is above;
// it seems to be the caller of operator delete, to which absl's own jumps.
constexpr std::string_view kUnref = "6Status15UnrefNonInlinedEm";
constexpr std::string_view kOfHeaders[] = {"_ZN4grpc", "_ZNK4grpc"};

bool StartsWithOneOf(std::string_view name, std::span<const std::string_view> starts) {
  return std::any_of(starts.begin(), starts.end(),
                     [name](std::string_view start) { return name.starts_with(start); });
}

bool IsForeign(std::span<void* const> trace) {
  bool of_library = false;
  for (void* const address : trace) {
    if (address == nullptr) return of_library;
    Dl_info found{};
    if (dladdr(address, &found) == 0) return false;
    std::string_view name = found.dli_fname;
    name.remove_prefix(name.rfind('/') + 1);
    if (StartsWithOneOf(name, kForeign)) return true;
    if (StartsWithOneOf(name, kBetween)) continue;
    const std::string_view function = found.dli_sname == nullptr ? "" : found.dli_sname;
    of_library = function.ends_with(kUnref) || StartsWithOneOf(function, kOfHeaders);
    if (!of_library && !StartsWithOneOf(function, kBetweenFunctions)) return false;
  }
  return false;
}

}  // namespace

namespace __tsan {

class ReportDesc;

// Called with every report; true drops it. A file of suppressions would drop each report that has
// such a library anywhere in its stacks, and all our handlers are called by gRPC: here it is the
// access itself that counts. What our code does in a callback is reported.
bool OnReport(const ReportDesc* report, bool suppressed) {
  if (suppressed) return true;
  void* const handle = const_cast<ReportDesc*>(report);
  const char* description = nullptr;
  int count = 0, stacks = 0, accesses = 0, locations = 0, mutexes = 0, threads = 0, ids = 0;
  void* sleep[1] = {};
  __tsan_get_report_data(handle, &description, &count, &stacks, &accesses, &locations, &mutexes,
                         &threads, &ids, sleep, 1);
  for (int i = 0; i < accesses; ++i) {
    int thread = 0, size = 0, write = 0, atomic = 0;
    void* address = nullptr;
    void* trace[16] = {};
    __tsan_get_report_mop(handle, static_cast<unsigned long>(i), &thread, &address, &size, &write,
                          &atomic, trace, std::size(trace));
    if (IsForeign(trace)) return true;
  }
  return false;
}

}  // namespace __tsan

// gRPC never joins the first thread of its executor, which lives until the process ends.
extern "C" const char* __tsan_default_suppressions() { return "thread:libgpr.so\n"; }
