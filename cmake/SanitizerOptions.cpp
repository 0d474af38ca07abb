// What AddressSanitizer is told in every program of an instrumented build.
//
// LLVM's archives are not instrumented. Its allocators poison their memory in
// headers, so only where our sources include them, and unpoison it in code that
// may come from either side: such marks mean nothing here.
extern "C" const char *__asan_default_options() {
  return "allow_user_poisoning=0:detect_stack_use_after_return=1:"
         "strict_string_checks=1:check_initialization_order=1";
}

extern "C" const char *__ubsan_default_options() {
  return "print_stacktrace=1";
}
