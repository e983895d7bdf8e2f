#!/usr/bin/env python3
"""A scan by a client that zeep generates from the specification's own WSDL, and that holds every answer against its schema.

usage: soap.py SPECIFICATION NODE

SPECIFICATION is the folder with the WSDL texts of MS-WUSP (wusp-client.wsdl.txt, wusp-simpleauth.wsdl.txt,
wusp-reporting.wsdl.txt), NODE such as http://127.0.0.1:3698. It goes through the handshake and scans twice: with plain answers,
and with answers packed by Xpress, which dissect.util unpacks; then it asks more about what it was sent, reports, and shows a
forged cookie. It takes whatever is no leaf for installed. What it found is printed as JSON; whatever is not as the specification
has it ends it with an error.
"""

import datetime
import io
import json
import pathlib
import struct
import sys
import uuid

import requests
import zeep
from dissect.util.compression import lzxpress
from lxml import etree

CLIENT = "http://www.microsoft.com/SoftwareDistribution/Server/ClientWebService"
SIMPLE = "http://www.microsoft.com/SoftwareDistribution/Server/SimpleAuthWebService"
REPORTS = "http://www.microsoft.com/SoftwareDistribution"
# An agent gives up after so many.
ROUNDS = 200
NOBODY = "00000000-0000-0000-0000-000000000000"


def wsdl(folder, name):
    """The WSDL of a service, without what its page has before and behind it."""
    text = (folder / f"wusp-{name}.wsdl.txt").read_text(encoding="utf-8")
    end = "</wsdl:definitions>"
    text = text[text.index("<?xml"):text.index(end) + len(end)]
    # Types of XML Schema that the page names by prefixes which mean nothing, or something else.
    return io.BytesIO(text.replace('"xs:', '"s:').replace('"s1:String"', '"s:string"').encode())


class Answers(zeep.Transport):
    """Posts, and unpacks what comes packed."""

    def __init__(self, packed):
        super().__init__(session=requests.Session(), timeout=120, operation_timeout=120)
        self.encoding = "xpress" if packed else "identity"
        self.blocks, self.stored, self.received, self.plain = 0, 0, 0, 0

    def post(self, address, message, headers):
        response = super().post(address, message, {**headers, "Accept-Encoding": self.encoding})
        body, encoding = response.content, response.headers.get("Content-Encoding", "identity")
        self.received += len(body)
        if encoding == "xpress":
            assert self.encoding == "xpress", "a packed answer that nobody asked for"
            body = self.unpacked(body)
            response._content = body
        else:
            assert encoding == "identity", f"an answer packed as {encoding}"
            assert self.encoding == "identity" or len(body) < 300, f"{len(body)} bytes were not packed"
        self.plain += len(body)
        return response

    def unpacked(self, body):
        """The blocks of MS-WUSP section 2.1.1, each plain LZ77 or as it was."""
        out, at = bytearray(), 0
        while at < len(body):
            plain, length = struct.unpack_from("<II", body, at)
            block = body[at + 8:at + 8 + length]
            assert len(block) == length and 0 < plain <= 65_535, f"a block of {plain} bytes in {length} of {len(block)}"
            at += 8 + length
            self.blocks += 1
            if length == plain:
                self.stored += 1
            else:
                block = lzxpress.decompress(block)
                assert len(block) == plain, f"a block of {len(block)} bytes says that it has {plain}"
            out += block
        return bytes(out)


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def listed(holder, name):
    """The items of a list that may be absent or empty."""
    return (getattr(holder, name) or []) if holder is not None else []


class Agent:
    def __init__(self, folder, node, packed):
        self.transport = Answers(packed)
        self.id, self.name = str(uuid.uuid4()), "soap.site.example"
        self.held, self.rounds = {}, 0
        settings = zeep.Settings(strict=True, xml_huge_tree=True)

        def service(name, binding, path):
            client = zeep.Client(wsdl(folder, name), transport=self.transport, settings=settings)
            return client.create_service(binding, node + path)

        self.client = service("client", f"{{{CLIENT}}}ClientSoap", "/ClientWebService/client.asmx")
        self.simple = service("simpleauth", f"{{{SIMPLE}}}SimpleAuthSoap", "/SimpleAuthWebService/SimpleAuth.asmx")
        self.reports = service("reporting", f"{{{REPORTS}}}WebServiceSoap", "/ReportingWebService/WebService.asmx")

    def handshake(self):
        config = self.client.GetConfig(protocolVersion="2.90")
        properties = {one.Name: one.Value for one in config.Properties.ConfigurationProperty}
        assert properties["ProtocolVersion"] == "3.2", properties
        plug_in, = config.AuthInfo.AuthPlugInInfo
        assert plug_in.PlugInID == "SimpleTargeting", plug_in
        assert plug_in.ServiceUrl.lower().endswith("simpleauthwebservice/simpleauth.asmx"), plug_in
        pass_ = self.simple.GetAuthorizationCookie(clientId=self.id, targetGroupName=None, dnsName=self.name)
        self.cookie = self.client.GetCookie(
            authCookies={"AuthorizationCookie": [{"PlugInId": pass_.PlugInId, "CookieData": pass_.CookieData}]},
            oldCookie={"Expiration": now()},
            lastChange=config.LastChange,
            currentTime=now(),
            protocolVersion="2.90",
        )
        assert config.IsRegistrationRequired
        self.client.RegisterComputer(
            cookie=self.cookie,
            computerInfo={
                "DnsName": self.name, "OSMajorVersion": 10, "OSMinorVersion": 0, "OSBuildNumber": 26_100,
                "OSServicePackMajorNumber": 0, "OSServicePackMinorNumber": 0, "OSLocale": "en-US",
                "ComputerManufacturer": "Example", "ComputerModel": "Desk & Co", "BiosVersion": "1", "BiosName": "B",
                "BiosReleaseDate": now(), "ProcessorArchitecture": "AMD64", "SuiteMask": 256, "OldProductType": 1,
                "NewProductType": 48, "SystemMetrics": 0, "ClientVersionMajorNumber": 1507,
                "ClientVersionMinorNumber": 2601, "ClientVersionBuildNumber": 30_012, "ClientVersionQfeNumber": 0,
            },
        )

    def sync(self):
        lists = {}
        if self.held:
            numbers = lambda leaf: {"int": [number for number, one in self.held.items() if one["leaf"] == leaf]}
            lists = {"InstalledNonLeafUpdateIDs": numbers(False), "OtherCachedUpdateIDs": numbers(True)}
        told = self.client.SyncUpdates(
            cookie=self.cookie,
            parameters={
                "ExpressQuery": False, **lists, "SkipSoftwareSync": False, "NeedTwoGroupOutOfScopeUpdates": True,
            },
        )
        self.rounds += 1
        self.cookie = told.NewCookie
        again = told.Truncated
        for info in listed(told.NewUpdates, "UpdateInfo"):
            assert info.ID not in self.held, f"{info.ID} is held"
            # A fragment has no root of its own.
            core = etree.fromstring(f"<core>{info.Xml}</core>", etree.XMLParser(huge_tree=True))
            identity = core.find("UpdateIdentity")
            self.held[info.ID] = {
                "update": identity.get("UpdateID").lower(),
                "revision": int(identity.get("RevisionNumber")),
                "action": info.Deployment.Action,
                "leaf": info.IsLeaf,
            }
            again = again or not info.IsLeaf
        for number in listed(told.OutOfScopeRevisionIDs, "int"):
            self.held.pop(number)
        return again

    def scan(self):
        while self.sync():
            assert self.rounds < ROUNDS, "an agent gives up here"
        first = self.rounds
        # Nothing is new.
        before = dict(self.held)
        assert not self.sync() and self.held == before, "a scan behind a scan brought something"
        return first

    def more(self):
        """What else is said of all that is held, and where the files are."""
        numbers, updates, places = sorted(self.held), 0, {}
        for at in range(0, len(numbers), 50):
            some = numbers[at:at + 50]
            told = self.client.GetExtendedUpdateInfo(
                cookie=self.cookie,
                revisionIDs={"int": some},
                infoTypes={"XmlUpdateFragmentType": ["Extended", "LocalizedProperties"]},
                locales={"string": ["en-US", "en"]},
            )
            said = listed(told.Updates, "Update")
            assert {one.ID for one in said} == set(some), "more is said of other revisions than asked about"
            updates += len(said)
            places.update({one.FileDigest: one.Url for one in listed(told.FileLocations, "FileLocation")})
        assert places and all(len(digest) == 20 for digest in places)
        digest, url = next(iter(places.items()))
        told = self.client.GetFileLocations(cookie=self.cookie, fileDigests={"base64Binary": [digest]})
        assert [one.Url for one in told.FileLocations.FileLocation] == [url]
        return updates, len(places)

    def refresh(self):
        """The server's numbers of what a client names by its ids are those that it was sent."""
        ids = [{"UpdateID": one["update"], "RevisionNumber": one["revision"]} for one in self.held.values()]
        told = self.client.RefreshCache(cookie=self.cookie, globalIDs={"UpdateIdentity": ids}) or []
        for one in told:
            held = self.held[one.RevisionID]
            assert (held["update"], held["revision"], held["action"], held["leaf"]) == (
                one.GlobalID.UpdateID.lower(), one.GlobalID.RevisionNumber, one.Deployment.Action, one.IsLeaf,
            ), one
        return len(told)

    def report(self):
        event = {
            "BasicData": {
                "TargetID": {"Sid": self.id}, "SequenceNumber": 0, "TimeAtTarget": now(),
                "EventInstanceID": str(uuid.uuid4()), "NamespaceID": 1, "EventID": 147, "SourceID": 101,
                "UpdateID": {"UpdateID": NOBODY, "RevisionNumber": 0}, "Win32HResult": 0, "AppName": "zeep",
            },
            "ExtendedData": {
                "ReplacementStrings": {"string": ["0"]}, "MiscData": {"string": ["c=48"]}, "ComputerBrand": "Example",
                "ComputerModel": "Desk & Co", "BiosRevision": "1",
                "ProcessorArchitecture": "Amd64Compatible",
                "OSVersion": {
                    "Major": 10, "Minor": 0, "Build": 26_100, "Revision": 0, "ServicePackMajor": 0,
                    "ServicePackMinor": 0,
                },
                "OSLocaleID": 1033,
            },
            "PrivateData": {},
        }
        # The type of the cookie is another one here, of the same parts.
        cookie = {"Expiration": self.cookie.Expiration, "EncryptedData": self.cookie.EncryptedData}
        return self.reports.ReportEventBatch(cookie=cookie, clientTime=now(), eventBatch={"ReportingEvent": [event]})

    def forged(self):
        """The word of the refusal of a cookie that nobody gave out."""
        forged = {"Expiration": self.cookie.Expiration, "EncryptedData": bytes(120)}
        try:
            ids = {"UpdateIdentity": [{"UpdateID": NOBODY, "RevisionNumber": 1}]}
            self.client.RefreshCache(cookie=forged, globalIDs=ids)
        except zeep.exceptions.Fault as fault:
            return next(one.text for one in fault.detail.iter() if etree.QName(one).localname == "ErrorCode")
        raise AssertionError("a forged cookie was taken")


def main():
    folder, node = pathlib.Path(sys.argv[1]), sys.argv[2].rstrip("/")
    found = {}
    for name, packed in (("plain", False), ("xpress", True)):
        agent = Agent(folder, node, packed)
        agent.handshake()
        rounds = agent.scan()
        updates, files = agent.more()
        actions = {}
        for one in agent.held.values():
            actions.setdefault(one["action"], []).append(one["update"])
        found[name] = {
            "rounds": rounds, "held": len(agent.held), "fragments": updates, "files": files,
            "actions": {action: sorted(updates) for action, updates in actions.items()},
            "refreshed": agent.refresh(), "reported": agent.report(), "forged": agent.forged(),
            "blocks": agent.transport.blocks, "stored": agent.transport.stored,
            "received": agent.transport.received, "plain": agent.transport.plain,
        }
    json.dump(found, sys.stdout)


main()
