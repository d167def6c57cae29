import smtplib
import sys

body = "".join(f"line {n} {'x' * 200}\r\n" for n in range(1000))
with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=20) as smtp:
    smtp.ehlo("client.test")
    smtp.mail("a@client.test")
    smtp.rcpt("b@mail.test")
    code, text = smtp.data(body)
    print(code, text.decode())
