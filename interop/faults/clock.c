// For LD_PRELOAD: shifts the wall clock of a process by the nanoseconds that the file named by FAULTS_CLOCK holds, as a clock
// that is set by hand or by NTP. Monotonic clocks stay. Programs may ask the kernel's vDSO without libc, so its functions are
// overwritten with jumps to those here; the page is the process's own copy.
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *shift;

static int shifted_clock(clockid_t clock, struct timespec *out) {
    int status = (int)syscall(SYS_clock_gettime, clock, out);
    if (status == 0 && shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t now = (int64_t)out->tv_sec * 1000000000 + out->tv_nsec + *shift;
        out->tv_sec = now / 1000000000;
        out->tv_nsec = now % 1000000000;
    }
    return status;
}

static int shifted_timeofday(struct timeval *restrict out, void *restrict zone) {
    (void)zone;
    struct timespec now;
    int status = shifted_clock(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return status;
}

static time_t shifted_time(time_t *out) {
    struct timespec now;
    shifted_clock(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

static void jump(uint8_t *from, void *to) {
#if defined(__x86_64__)
    uint8_t code[12] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0}; // mov rax, to; jmp rax
    memcpy(code + 2, &to, sizeof to);
#elif defined(__aarch64__)
    uint8_t code[16] = {0x50, 0, 0, 0x58, 0, 0x02, 0x1f, 0xd6}; // ldr x16, to; br x16
    memcpy(code + 8, &to, sizeof to);
#else
#error "no jump for this processor"
#endif
    memcpy(from, code, sizeof code);
    __builtin___clear_cache((char *)from, (char *)from + sizeof code);
}

static void *instead_of(const char *name) {
    if (!strcmp(name, "__vdso_clock_gettime") || !strcmp(name, "__kernel_clock_gettime")) return shifted_clock;
    if (!strcmp(name, "__vdso_gettimeofday") || !strcmp(name, "__kernel_gettimeofday")) return shifted_timeofday;
    if (!strcmp(name, "__vdso_time")) return shifted_time;
    return 0;
}

static void overwrite_vdso(void) {
    uint8_t *image = (uint8_t *)getauxval(AT_SYSINFO_EHDR);
    if (!image) return;
    Elf64_Ehdr *head = (Elf64_Ehdr *)image;
    Elf64_Phdr *parts = (Elf64_Phdr *)(image + head->e_phoff);
    Elf64_Dyn *entry = 0;
    size_t size = 0;
    for (int i = 0; i < head->e_phnum; i++) {
        if (parts[i].p_type == PT_DYNAMIC) entry = (Elf64_Dyn *)(image + parts[i].p_offset);
        if (parts[i].p_type == PT_LOAD) size = parts[i].p_vaddr + parts[i].p_memsz;
    }
    Elf64_Sym *symbols = 0;
    const char *names = 0;
    for (; entry && entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_SYMTAB) symbols = (Elf64_Sym *)(image + entry->d_un.d_ptr);
        if (entry->d_tag == DT_STRTAB) names = (const char *)(image + entry->d_un.d_ptr);
    }
    size = (size + 4095) & ~(size_t)4095;
    if (!symbols || !names || mprotect(image, size, PROT_READ | PROT_WRITE | PROT_EXEC)) {
        perror("the clock of this process cannot be shifted");
        _exit(70);
    }
    // The table of symbols ends where that of names begins.
    for (Elf64_Sym *symbol = symbols; (const char *)(symbol + 1) <= names; symbol++) {
        void *to = instead_of(names + symbol->st_name);
        if (to) jump(image + symbol->st_value, to);
    }
    mprotect(image, size, PROT_READ | PROT_EXEC);
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(0, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page == MAP_FAILED) return;
    shift = page;
    overwrite_vdso();
}
