; Many lines of a macro, for the assembler and for the linker, which makes short calls of long ones.
	.text
	.macro	step	n
	ldi	r24, lo8(\n * 7)
	ldi	r25, hi8(\n * 13 + 5)
	subi	r24, 0x3a
	call	main
	std	Y+1, r24
	brne	.+4
	jmp	walk_end
	.endm
	.global	many
many:
	.set	i, 0
	.rept	50000
	step	i
	.set	i, i + 1
	.endr
walk_end:
	ret
