/* Loaded before libre 1.1: gives baresip's module dtls_srtp a certificate of ECDSA instead of one of RSA, as later
 * versions of baresip have it. Our DTLS library knows no other. The file with key and certificate is named by BARESIP_ECDSA. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct tls;
int tls_set_certificate(struct tls *tls, const char *pem, size_t len);

int tls_set_selfsigned_rsa(struct tls *tls, const char *name, size_t bits)
{
	static char pem[16384];
	const char *path = getenv("BARESIP_ECDSA");
	FILE *file = path ? fopen(path, "r") : NULL;
	size_t len;

	(void)name;
	(void)bits;
	if (!file)
		return ENOENT;
	len = fread(pem, 1, sizeof pem, file);
	fclose(file);
	return tls_set_certificate(tls, pem, len);
}
