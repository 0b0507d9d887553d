#!/usr/bin/env -S sh -c 'exec php -d sendmail_path="$SENDMAIL -t -i" "$0"'
<?php
// mail(), which calls sendmail_path. It adds the header that it is given, and knows nothing of MIME.
$utf8 = fn ($text) => mb_encode_mimeheader($text, 'UTF-8', 'B', "\r\n");
$header = ['From' => $utf8(getenv('NAME')) . ' <' . getenv('FROM') . '>', 'MIME-Version' => '1.0'];
foreach (['Cc' => 'CC', 'Bcc' => 'BCC'] as $field => $name) {
    if (getenv($name)) {
        $header[$field] = str_replace(' ', ', ', getenv($name));
    }
}
$type = 'text/plain; charset=utf-8';
$body = str_replace("\n", "\r\n", file_get_contents(getenv('TEXT')));
if (getenv('ATTACHMENT')) {
    $scan = chunk_split(base64_encode(file_get_contents(getenv('ATTACHMENT'))));
    $body = "--part\r\nContent-Type: $type\r\n\r\n$body\r\n--part\r\n"
        . "Content-Type: application/octet-stream; name=scan.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n$scan--part--\r\n";
    $type = 'multipart/mixed; boundary=part';
}
$header['Content-Type'] = $type;
foreach (explode("\n", getenv('SUBJECTS')) as $subject) {
    mail(str_replace(' ', ', ', getenv('TO')), $utf8($subject), $body, $header) || exit(1);
}
