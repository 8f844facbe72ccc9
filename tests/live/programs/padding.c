// Code that stands where another build of the same program or library has
// functions of TLS: a breakpoint that was left at one of them shows in what it
// computes, or ends the program.
__asm__(".text\n"
	".globl httpsniff_padding\n"
	"httpsniff_padding:\n"
	"	xor %eax, %eax\n"
	".rept 400000\n"
	"	add $0x01010101, %eax\n"
	".endr\n"
	"	ret\n");
