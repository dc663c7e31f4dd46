"""The messages, in both languages: what happened, the case's number, the link. Nothing else, and no name."""

import html
from email.message import EmailMessage
from email.utils import format_datetime

from notification.deliveries.model import CHANNELS, Delivery

SENTENCES: dict[str, tuple[str, str]] = {
    "consult-submitted": ("收到新的会诊申请", "A new consult request has arrived"),
    "consult-returned": ("会诊申请需要补充资料", "Your consult request needs more data"),
    "consult-accepted": ("会诊已被接受", "Your consult request was accepted"),
    "consult-assigned": ("会诊已分配给您", "A consult was assigned to you"),
    "consult-taken": ("专家已接手会诊", "An expert has taken the consult"),
    "consult-taken-over": ("会诊已由其他专家接手", "Another expert has taken over the consult"),
    "consult-released": ("会诊等待专家接手", "A consult waits for an expert"),
    "review-requested": ("会诊报告等待复核", "A consult report waits for a second reader"),
    "review-declined": ("会诊报告被退回修改", "Your consult report came back for changes"),
    "review-approved": ("会诊报告已通过复核", "Your consult report was approved"),
    "consult-rejected": ("会诊被拒绝", "Your consult request was declined"),
    "consult-withdrawn": ("会诊已被申请方撤回", "The consult request was withdrawn"),
    "consult-escalated": ("会诊已转请上级医院", "The consult was escalated to a higher level"),
    "opinion-requested": ("请您对会诊给出意见", "Your opinion on a consult is asked for"),
    "opinion-excused": ("会诊不再需要您的意见", "Your opinion on a consult is no longer needed"),
    "opinion-given": ("会诊收到一份专家意见", "An opinion on your consult has arrived"),
    "consult-acknowledged": ("申请方已确认会诊报告", "The consult report was acknowledged"),
    "amendment-started": ("会诊报告正在修订", "A consult report is being amended"),
    "critical-acknowledged": ("申请方已确认危急值", "The critical value was acknowledged"),
    "comment-mentioned": ("有人在会诊讨论中提到您", "You were mentioned in a consult's discussion"),
    "consult-commented": ("会诊讨论有新留言", "A consult's discussion has a new comment"),
    "report-issued": ("会诊报告已发布", "The consult report was issued"),
    "report-amended": ("会诊报告已修订", "The consult report was amended"),
    "report-undelivered": ("会诊报告未能送回医院影像系统", "The consult report could not be sent back to the PACS"),
    "critical-value": ("危急值：请立即查看并确认", "Critical value: look at it and confirm now"),
    "limit-accept-reminder": ("会诊即将超过接受时限", "A consult must be accepted soon"),
    "limit-accept-overdue": ("会诊已超过接受时限", "A consult was not accepted in time"),
    "limit-accept-escalated": ("会诊长时间无人接受", "A consult has long waited to be accepted"),
    "limit-opinion-reminder": ("会诊即将超过首次意见时限", "A consult's first opinion is due soon"),
    "limit-opinion-overdue": ("会诊已超过首次意见时限", "A consult's first opinion is overdue"),
    "limit-opinion-escalated": ("会诊长时间没有意见", "A consult has long waited for an opinion"),
    "limit-report-reminder": ("会诊报告即将到期", "A consult report is due soon"),
    "limit-report-overdue": ("会诊报告已超时", "A consult report is overdue"),
    "limit-report-escalated": ("会诊报告严重超时", "A consult report is long overdue"),
    "limit-critical-reminder": ("危急值等待确认", "A critical value waits to be confirmed"),
    "limit-critical-overdue": ("危急值未按时确认", "A critical value was not confirmed in time"),
    "limit-critical-escalated": ("危急值长时间无人确认", "A critical value is still not confirmed"),
    "break-glass": ("有人使用了紧急调阅", "Somebody broke the glass"),
    "subscription-disabled": ("一个事件订阅已停用", "An event subscription was disabled"),
}
UNKNOWN = ("您有一条新通知", "You have a new notice")
WORDS = {
    "zh": ("区域影像云", "编号", "打开", "登录后查看。您可以在门户的“通知设置”中选择接收方式。"),
    "en": (
        "Regional imaging",
        "Number",
        "Open",
        "Sign in to read more. How you are told can be set under “Notification settings” in the portal.",
    ),
}


def sentence(kind: str, language: str) -> str:
    """What happened."""
    return SENTENCES.get(kind, UNKNOWN)[language == "en"]


def text_message(delivery: Delivery, portal: str, language: str) -> str:
    """A text message; short, as long ones are charged twice."""
    brand = WORDS[language][0]
    head = f"【{brand}】" if language == "zh" else f"{brand}: "
    return f"{head}{sentence(delivery.kind, language)} {delivery.number} {portal}{delivery.link}"


def mail(delivery: Delivery, sender: str, address: str, portal: str, language: str) -> EmailMessage:
    """An e-mail (RFC 5322), as text and as HTML; the same delivery always has the same `Message-ID`."""
    assert delivery.channel == CHANNELS[0]
    brand, number, open_it, foot = WORDS[language]
    what, link = sentence(delivery.kind, language), f"{portal}{delivery.link}"
    message = EmailMessage()
    message["From"] = f"{brand} <{sender}>" if brand.isascii() else sender
    message["To"] = address
    message["Subject"] = f"[{brand}] {what} {delivery.number}"
    message["Date"] = format_datetime(delivery.raised_at)
    message["Message-ID"] = message_id(delivery, sender)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    message["Content-Language"] = {"zh": "zh-CN", "en": "en"}[language]
    if delivery.urgency == "emergency":
        message["Importance"] = "high"
    message.set_content(f"{what}\n\n{number}: {delivery.number}\n{open_it}: {link}\n\n-- \n{foot}\n")
    message.add_alternative(
        f'<!doctype html><html lang="{message["Content-Language"]}"><body style="font-family:sans-serif">'
        f"<p><strong>{html.escape(what)}</strong></p><p>{number}: {html.escape(delivery.number)}</p>"
        f'<p><a href="{html.escape(link)}">{open_it}</a></p>'
        f'<p style="color:#666;font-size:small">{html.escape(foot)}</p></body></html>\n',
        subtype="html",
    )
    return message


def message_id(delivery: Delivery, sender: str) -> str:
    """`Message-ID` (RFC 5322 §3.6.4) by which a repetition is recognised."""
    return f"<{delivery.id}@{sender.rpartition('@')[2]}>"
