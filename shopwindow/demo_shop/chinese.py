"""The shop in Chinese: the words for what it sells, and which suppliers write their titles in Chinese.

The first word of each entry is the usual one. Synonyms follow; no two entries of one table share a word.
"""

from __future__ import annotations

SUPPLIERS = frozenset({"Jarlstad Handel", "Norwyck Bazaar", "Quayside Parcel Co", "Venlowe Brothers", "Zellmarch"})
"""A fifth of all suppliers."""

ARTICLES: dict[str, tuple[str, ...]] = {
    "t-shirt": ("T恤", "短袖衫"),
    "shirt": ("衬衫", "衬衣"),
    "jumper": ("毛衣", "针织衫"),
    "jacket": ("外套", "夹克"),
    "dress": ("连衣裙", "洋装"),
    "skirt": ("半身裙", "短裙"),
    "trousers": ("长裤", "休闲裤"),
    "shorts": ("短裤", "五分裤"),
    "socks": ("袜子", "长袜"),
    "sneaker": ("运动鞋", "跑步鞋", "球鞋"),
    "boot": ("靴子", "短靴"),
    "sandal": ("凉鞋", "拖鞋"),
    "high heel": ("高跟鞋", "细跟鞋"),
    "handbag": ("手提包", "女包", "单肩包"),
    "backpack": ("双肩包", "背包", "书包"),
    "suitcase": ("行李箱", "拉杆箱", "旅行箱"),
    "tote bag": ("托特包", "购物袋"),
    "cap": ("棒球帽", "鸭舌帽"),
    "sun hat": ("遮阳帽", "草帽"),
    "beanie": ("毛线帽", "针织帽"),
    "scarf": ("围巾", "披肩"),
    "umbrella": ("雨伞", "折叠伞"),
    "sunglasses": ("太阳镜", "墨镜"),
    "watch": ("手表", "腕表"),
    "tie": ("领带",),
    "mug": ("马克杯", "咖啡杯", "茶杯"),
    "teapot": ("茶壶", "泡茶壶"),
    "wine glass": ("高脚杯", "葡萄酒杯"),
    "water bottle": ("水瓶", "水壶"),
    "frying pan": ("平底锅", "煎锅"),
    "cooking pot": ("汤锅", "炖锅"),
    "plate": ("盘子", "餐盘"),
    "chair": ("椅子", "餐椅"),
    "armchair": ("扶手椅", "休闲椅"),
    "sofa": ("沙发", "布艺沙发"),
    "table": ("桌子", "餐桌"),
    "bookshelf": ("书架", "书柜"),
    "lamp": ("台灯", "床头灯"),
    "vase": ("花瓶", "插花瓶"),
    "cushion": ("抱枕", "靠垫"),
    "wall clock": ("挂钟", "时钟"),
    "headphones": ("耳机", "头戴式耳机"),
    "phone": ("手机", "智能手机"),
    "camera": ("相机", "照相机"),
    "laptop": ("笔记本电脑", "手提电脑"),
    "teddy bear": ("泰迪熊", "毛绒熊"),
    "ball": ("皮球", "玩具球"),
    "kite": ("风筝",),
    "toy car": ("玩具车", "模型车"),
    "rubber duck": ("橡皮鸭", "洗澡鸭"),
}

COLOURS: dict[str, tuple[str, ...]] = {
    "red": ("红色", "大红色"),
    "blue": ("蓝色", "宝蓝色"),
    "navy blue": ("藏青色", "深蓝色"),
    "green": ("绿色", "墨绿色"),
    "yellow": ("黄色", "柠檬黄"),
    "orange": ("橙色", "橘色"),
    "pink": ("粉色", "粉红色"),
    "purple": ("紫色", "紫罗兰色"),
    "brown": ("棕色", "咖啡色"),
    "black": ("黑色", "纯黑色"),
    "white": ("白色", "乳白色"),
    "grey": ("灰色", "烟灰色"),
    "beige": ("米色", "杏色"),
}

PATTERNS: dict[str, tuple[str, ...]] = {
    "plain": ("纯色", "素色"),
    "striped": ("条纹", "竖条"),
    "dotted": ("波点", "圆点"),
    "checked": ("格子", "格纹"),
    "floral": ("碎花", "印花"),
}

CATEGORIES: dict[str, str] = {
    "clothing": "衣服",
    "shoes": "鞋子",
    "bags": "包包",
    "accessories": "配饰",
    "kitchen": "厨具",
    "furniture": "家具",
    "home": "家居装饰",
    "electronics": "数码产品",
    "toys": "玩具",
}

AUDIENCES: dict[str, str] = {
    "Women's": "女士",
    "Girls'": "女童",
    "Men's": "男士",
    "Kids'": "儿童",
    "Unisex": "男女通用",
    "Baby": "婴儿",
}

SELLERS_WORDS: tuple[str, ...] = (
    "新款", "2026新款", "百搭", "时尚", "简约", "高级感", "ins风", "网红同款", "正品", "包邮", "韩版", "北欧风",
    "ins小众", "送礼", "耐用", "轻奢", "家用", "潮流", "日系", "复古",
)  # fmt: skip
"""What sellers add to any title."""

MATERIALS: dict[str, str] = {
    "ABS": "ABS", "ANC": "主动降噪", "Acetate": "板材", "Acrylic Knit": "腈纶", "Aluminium": "铝合金",
    "BPA Free": "不含双酚A", "Bamboo": "竹纤维", "Beech": "榉木", "Bluetooth": "蓝牙", "Boucle": "圈圈绒",
    "Canvas": "帆布", "Cashmere Blend": "羊绒混纺", "Cast Iron": "铸铁", "Ceramic": "陶瓷", "Corduroy": "灯芯绒",
    "Cork": "软木", "Cotton": "纯棉", "Cotton Knit": "棉线", "Cotton Plush": "棉绒", "Cotton Poplin": "府绸",
    "Cotton Twill": "斜纹棉", "Crystal Glass": "水晶玻璃", "Die-Cast": "合金", "EVA": "EVA",
    "Enamelled Steel": "搪瓷", "Fabric Shade": "布灯罩", "Glass": "玻璃", "Jersey": "汗布", "Jute": "黄麻",
    "Lacquered Wood": "烤漆", "Lambswool": "羔羊毛", "Leather": "真皮", "Leather Strap": "皮表带", "Linen": "亚麻",
    "Linen Blend": "棉麻", "Linen Shade": "亚麻灯罩", "MDF": "密度板", "Merino Wool": "美利奴羊毛", "Mesh": "网面",
    "Metal": "金属", "Microfibre": "超细纤维", "Natural Rubber": "天然橡胶", "Nylon": "尼龙",
    "Nylon Strap": "尼龙表带", "Oak Veneer": "橡木皮", "Organic Cotton": "有机棉", "Oxford Cotton": "牛津纺",
    "PVC": "PVC", "Paper Braid": "纸编", "Pine": "松木", "Plastic": "塑料", "Polycarbonate": "聚碳酸酯",
    "Polyester": "涤纶", "Pongee": "碰击布", "Porcelain": "骨瓷", "Quick Dry": "速干", "Recycled Polyester": "再生涤纶",
    "Ripstop Nylon": "防撕裂尼龙", "Rubber": "橡胶", "Satin": "缎面", "Silicone Strap": "硅胶表带", "Silk": "真丝",
    "Soft Plush": "软绒", "Stainless Steel": "不锈钢", "Stoneware": "粗陶", "Straw": "麦秆", "Suede": "绒面",
    "Tinted Glass": "彩色玻璃", "Tritan": "Tritan", "Vegan Leather": "人造革", "Velvet": "丝绒", "Viscose": "粘胶",
    "Wired": "有线", "Wood": "木质", "Wool": "羊毛", "Wool Blend": "羊毛混纺",
}  # fmt: skip
"""Material -> its name. What is missing here is the same in Chinese, such as 128 GB."""
